// Lookup in tables of 8 bits.
#include "kernels/lut_avx512vnni.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

constexpr std::size_t kBytes = 32;

/// Two byte positions, or only one: what the table has of another then counts nothing.
template <int Positions>
struct Step8 {
  static constexpr std::size_t positions = Positions, bytes = kBytes;

  static __m512i weights() { return Positions == 2 ? lanes_of(1, 1, 1, 1) : lanes_of(1, 1, 0, 0); }

  static __m512i load(const std::uint8_t* from) {
    if (Positions == 2) return load64(from);
    return _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }

  template <bool Masked>
  static void places(const std::uint8_t* signs, const std::uint8_t* mask, __m512i* out) {
    // The lower two bytes of lane i become row i of the first position and of the second.
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i spread = _mm512_or_si512(_mm512_or_si512(lane, _mm512_slli_epi32(lane, 8)), lanes_of(0, 32, 0, 0));
    const __m512i shifts = _mm512_set1_epi64(0x2C2824200C080400);
    __m512i code = load(signs);
    if (Masked) code = _mm512_and_si512(code, load(mask));
    out[0] = places_of(_mm512_permutexvar_epi8(spread, code), shifts);
    out[1] = places_of(_mm512_permutexvar_epi8(_mm512_or_si512(spread, lanes_of(16, 16, 0, 0)), code), shifts);
  }
};

/// Per byte position the 16 entries of the lower four inputs, then those of the upper four: a register has the tables
/// of two positions.
struct Table8 {
  static constexpr std::size_t bytes = kBytes;
  static constexpr int largest = 127;

  static void store(__m512i lower, __m512i upper, unsigned char* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(lower));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), _mm512_cvtsepi32_epi8(upper));
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, const LutSpan& span, const float* scales,
                      __m512 (*sums)[Columns][Avx512::vectors]) {
    const std::size_t even = span.begin + (span.end - span.begin) / 2 * 2;
    add_steps<Step8<2>, Blocks, Columns, Masked>(signs, mask, tables, span.begin, even, scales, sums);
    if (even == span.end) return;
    add_steps<Step8<1>, Blocks, Columns, Masked>(signs, mask, tables, even, span.end, scales, sums);
  }
};

}  // namespace

const LutKernel kLut8Avx512 = {Table8::bytes, 16, build_digits<Table8>, multiply_wide<Table8>, kColumns};

}  // namespace dtc
