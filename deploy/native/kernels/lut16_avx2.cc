// Lookup in tables of 16 bits, as two tables of bytes.
#include "kernels/lut_avx2.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Per byte position the lower bytes of the 16 entries of the lower four inputs and of those of the upper four, then
/// the upper bytes likewise, each entry plus 32768 + 128: less 128, the bytes are then
/// the digits of the entry.
struct Table16 {
  using Simd = Avx2;
  struct Sums {
    ByteSums low, high;
    void look_up(__m256i low_table, __m256i high_table, __m256i nibbles) {
      low.add(_mm256_shuffle_epi8(low_table, nibbles));
      high.add(_mm256_shuffle_epi8(high_table, nibbles));
    }
  };
  static constexpr std::size_t bytes = 64;
  // 16 registers of sums would leave none: 6 % slower at 20 columns (Zen 5).
  static constexpr bool joined = false;
  static constexpr int largest = 32767 - 128;

  static int store(const float* scaled, unsigned char* to) {
    __m256i lower = nibble_table(scaled), upper = nibble_table(scaled + 4);
    const __m256i bias = _mm256_set1_epi16(-32768 + 128), byte = _mm256_set1_epi16(255);
    const int total = static_cast<std::int16_t>(_mm256_extract_epi16(lower, 15)) +
                      static_cast<std::int16_t>(_mm256_extract_epi16(upper, 15));
    lower = _mm256_add_epi16(lower, bias);
    upper = _mm256_add_epi16(upper, bias);
    const __m256i low = _mm256_packus_epi16(_mm256_and_si256(lower, byte), _mm256_and_si256(upper, byte));
    const __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(lower, 8), _mm256_srli_epi16(upper, 8));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(low, 0xD8));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), _mm256_permute4x64_epi64(high, 0xD8));
    return total;
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* codes, const std::uint8_t* const* mask,
                      const std::uint8_t* const* ahead, const unsigned char* const* tables, std::size_t positions,
                      const float* scales, bool first, Simd::F (*totals)[Simd::vectors]) {
    Sums sums[Blocks][Columns];
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) sums[u][c] = {ByteSums::of(2 * positions), ByteSums::of(2 * positions)};
    }
    for (std::size_t b = 0; b < positions; ++b) {
      __m256i code[Blocks];
      for (int u = 0; u < Blocks; ++u) {
        code[u] = load_code<Masked>(codes[u], mask[u], b);
        Simd::prefetch(ahead[u] + b * kLutRows);
      }
      for (int c = 0; c < Columns; ++c) {
        const unsigned char* table = tables[c] + b * bytes;
        const __m256i low = load_table(table), high = load_table(table + 32);
        for (int u = 0; u < Blocks; ++u) sums[u][c].look_up(low, high, lower_nibbles(code[u]));
      }
      for (int c = 0; c < Columns; ++c) {
        const unsigned char* table = tables[c] + b * bytes + 16;
        const __m256i low = load_table(table), high = load_table(table + 32);
        for (int u = 0; u < Blocks; ++u) sums[u][c].look_up(low, high, upper_nibbles(code[u]));
      }
    }
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) add(sums[u][c], scales[c], first, totals[c * Blocks + u]);
    }
  }

  static void add(const Sums& sums, float scale, bool first, __m256* totals) {
    const __m256i units = _mm256_set1_epi32(1 + (256 << 16));
    const __m256i even_low = sums.low.even(), even_high = sums.high.even();
    const __m256i even[2] = {_mm256_madd_epi16(_mm256_unpacklo_epi16(even_low, even_high), units),
                             _mm256_madd_epi16(_mm256_unpackhi_epi16(even_low, even_high), units)};
    const __m256i odd[2] = {_mm256_madd_epi16(_mm256_unpacklo_epi16(sums.low.odd, sums.high.odd), units),
                            _mm256_madd_epi16(_mm256_unpackhi_epi16(sums.low.odd, sums.high.odd), units)};
    __m256i wide[4];
    for (int i = 0; i < 2; ++i) {
      const __m256i low = _mm256_unpacklo_epi32(even[i], odd[i]), high = _mm256_unpackhi_epi32(even[i], odd[i]);
      wide[i] = _mm256_permute2x128_si256(low, high, 0x20);
      wide[i + 2] = _mm256_permute2x128_si256(low, high, 0x31);
    }
    add_scaled(wide, scale, first, totals);
  }
};

}  // namespace

static_assert(kRoundedPositions <= kMostPositions, "no sum may overflow");
const LutKernel kLut16Avx2 = {Table16::bytes, kRoundedPositions, build_rounded<Table16>, multiply_with<Table16>, 6.5};

}  // namespace dtc
