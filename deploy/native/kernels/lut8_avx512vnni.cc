// Lookup in tables of 8 bits.
#include "kernels/lut_avx512vnni.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Two byte positions, or only one: what the table has of another then counts nothing.
template <int Positions>
struct FewPositions {
  static constexpr std::size_t positions = Positions, bytes = 64;
  static constexpr int halves = 1, digits = 1;

  static __m512i weights(int) { return Positions == 2 ? lanes_of(1, 1, 1, 1) : lanes_of(1, 1, 0, 0); }

  static __m512i load(const std::uint8_t* from) {
    if (Positions == 2) return load64(from);
    return _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }

  template <bool Masked>
  static void places(const std::uint8_t* signs, const std::uint8_t* mask, __m512i (*out)[Avx512::vectors]) {
    // The lower two bytes of lane i are row i of the first position and of the second.
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i first = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(257)), lanes_of(0, 32, 0, 0));
    // From there its bytes are the four halves: shifted by 0, 4, 8 and 12 bits.
    const __m512i shifts = _mm512_set1_epi64(0x2C2824200C080400);
    __m512i code = load(signs);
    if (Masked) code = _mm512_and_si512(code, load(mask));
    for (std::size_t h = 0; h < Avx512::vectors; ++h) {
      const __m512i rows = h == 0 ? first : _mm512_add_epi32(first, lanes_of(16, 16, 0, 0));
      out[0][h] = places_of(_mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(rows, code)));
    }
  }
};

/// Per byte position 32 bytes: of four as `FourPositions` has them, of what is left the 16 entries of the lower four
/// inputs, then those of the upper four.
struct Table8 {
  static constexpr std::size_t bytes = 32;
  static constexpr int digits = 1, largest = 127;

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, const LutSpan& span, const float* scales,
                      __m512 (*sums)[Columns][Avx512::vectors]) {
    look_up_bytes<Table8, Blocks, Columns, Masked>(signs, mask, tables, span, scales, sums);
  }

  template <int Blocks, int Columns, bool Masked>
  static void rest(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                   const unsigned char* const* tables, std::size_t begin, std::size_t end, const float* scales,
                   __m512 (*sums)[Columns][Avx512::vectors]) {
    const std::size_t even = begin + (end - begin) / 2 * 2;
    const unsigned char* last[Columns];
    for (int c = 0; c < Columns; ++c) last[c] = tables[c] + (even - begin) * bytes;
    add_steps<FewPositions<2>, Blocks, Columns, Masked>(signs, mask, tables, begin, even, scales, sums);
    add_steps<FewPositions<1>, Blocks, Columns, Masked>(signs, mask, last, even, end, scales, sums);
  }
};

}  // namespace

// A scale of its own for every 256 inputs: less of an error than one a row where x has outliers.
const LutKernel kLut8Avx512 = {Table8::bytes, 32, build_digits<Table8>, multiply_wide<Table8>, 1.0, kColumns};

}  // namespace dtc
