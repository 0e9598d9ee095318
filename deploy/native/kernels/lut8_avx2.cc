// Lookup in tables of 8 bits, one instruction for 32 rows and 4 inputs.
#include "kernels/lut_avx2.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Per byte position the 16 entries of the lower four inputs, then those of the upper four, each plus 128.
struct Table8 {
  using Simd = Avx2;
  using Sums = ByteSums;
  static constexpr std::size_t bytes = 32;
  static constexpr bool joined = true;
  static constexpr int largest = 127;

  static int store(const float* scaled, unsigned char* to) {
    const __m256i lower = nibble_table(scaled), upper = nibble_table(scaled + 4);
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(lower, upper), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_xor_si256(both, _mm256_set1_epi8(-128)));
    return to[15] + to[31] - 256;
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* codes, const std::uint8_t* const* mask,
                      const std::uint8_t* const* ahead, const unsigned char* const* tables, std::size_t positions,
                      const float* scales, bool first, Simd::F (*totals)[Simd::vectors]) {
    Sums sums[Blocks][Columns];
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) sums[u][c] = Sums::of(2 * positions);
    }
    for (std::size_t b = 0; b < positions; ++b) {
      __m256i code[Blocks];
      for (int u = 0; u < Blocks; ++u) {
        code[u] = load_code<Masked>(codes[u], mask[u], b);
        Simd::prefetch(ahead[u] + b * kLutRows);
      }
      for (int c = 0; c < Columns; ++c) {
        const __m256i table = load_table(tables[c] + b * bytes);
        for (int u = 0; u < Blocks; ++u) sums[u][c].add(_mm256_shuffle_epi8(table, lower_nibbles(code[u])));
      }
      for (int c = 0; c < Columns; ++c) {
        const __m256i table = load_table(tables[c] + b * bytes + 16);
        for (int u = 0; u < Blocks; ++u) sums[u][c].add(_mm256_shuffle_epi8(table, upper_nibbles(code[u])));
      }
    }
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) add(sums[u][c], scales[c], first, totals[c * Blocks + u]);
    }
  }

  static void add(const Sums& sums, float scale, bool first, __m256* totals) {
    const __m256i even = sums.even();
    const __m256i low = _mm256_unpacklo_epi16(even, sums.odd), high = _mm256_unpackhi_epi16(even, sums.odd);
    const __m256i wide[4] = {_mm256_cvtepi16_epi32(_mm256_castsi256_si128(low)),
                             _mm256_cvtepi16_epi32(_mm256_castsi256_si128(high)),
                             _mm256_cvtepi16_epi32(_mm256_extracti128_si256(low, 1)),
                             _mm256_cvtepi16_epi32(_mm256_extracti128_si256(high, 1))};
    add_scaled(wide, scale, first, totals);
  }
};

}  // namespace

static_assert(kRoundedPositions <= kMostPositions, "no sum may overflow");
const LutKernel kLut8Avx2 = {Table8::bytes, kRoundedPositions, build_rounded<Table8>, multiply_with<Table8>, 3.5};

}  // namespace dtc
