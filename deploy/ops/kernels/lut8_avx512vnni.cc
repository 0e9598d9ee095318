// Lookup in tables of 8 bits.
#include "kernels/lut_avx512vnni.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Per byte position the 16 entries of the lower four inputs, then those of the upper four: a register has the tables
/// of two positions.
struct Table8 {
  static constexpr std::size_t bytes = 32;
  static constexpr int largest = 127;

  static void store(__m512i lower, __m512i upper, unsigned char* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(lower));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), _mm512_cvtsepi32_epi8(upper));
  }

  struct Two {
    static __m512i load(const std::uint8_t* from) { return load64(from); }
  };
  struct One {
    static __m512i load(const std::uint8_t* from) {
      return _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    }
  };

  template <class Step>
  static void walk(const LutSpan& span, const Step& step) {
    std::size_t b = span.begin;
    for (; b + 2 <= span.end; b += 2) step(b, Two{}, lanes_of(1, 1, 1, 1));
    if (b < span.end) step(b, One{}, lanes_of(1, 1, 0, 0));  // what the table has of another position counts nothing
  }

  template <bool Masked, class Read>
  static void places(const std::uint8_t* signs, const std::uint8_t* mask, Read read, __m512i* out) {
    // Byte 4 i of the first is row i of the first position, byte 4 i + 1 that of the second; then rows 16 to 31.
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i spread = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(257)), lanes_of(0, 32, 0, 0));
    const __m512i shifts = _mm512_set1_epi64(0x2C2824200C080400);
    __m512i code = read.load(signs);
    if (Masked) code = _mm512_and_si512(code, read.load(mask));
    out[0] = places_of(_mm512_permutexvar_epi8(spread, code), shifts);
    out[1] = places_of(_mm512_permutexvar_epi8(_mm512_add_epi32(spread, lanes_of(16, 16, 0, 0)), code), shifts);
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, const LutSpan& span, const float* scales,
                      __m512 (*sums)[Columns][Avx512::vectors]) {
    look_up_bytes<Table8, Blocks, Columns, Masked>(signs, mask, tables, span, scales, sums);
  }
};

}  // namespace

const LutKernel kLut8Avx512 = {Table8::bytes, 16, build_rounded<Table8>, multiply_wide<Table8>, kColumns};

}  // namespace dtc
