// Lookup in tables of 16 bits, as two tables of bytes.
#include "kernels/lut_avx2.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Per byte position the lower bytes of the 16 entries of the lower four inputs and of those of the upper four, then
/// the upper bytes likewise, each entry plus 32768.
struct Table16 {
  using Simd = Avx2;
  struct Sums {
    ByteSums low, high;
  };
  static constexpr std::size_t bytes = 64;
  static constexpr int largest = 32767;

  static int store(__m256i lower, __m256i upper, unsigned char* to) {
    const __m256i bias = _mm256_set1_epi16(-32768), byte = _mm256_set1_epi16(255);
    const int total = static_cast<std::int16_t>(_mm256_extract_epi16(lower, 15)) +
                      static_cast<std::int16_t>(_mm256_extract_epi16(upper, 15));
    lower = _mm256_xor_si256(lower, bias);
    upper = _mm256_xor_si256(upper, bias);
    const __m256i low = _mm256_packus_epi16(_mm256_and_si256(lower, byte), _mm256_and_si256(upper, byte));
    const __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(lower, 8), _mm256_srli_epi16(upper, 8));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(low, 0xD8));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), _mm256_permute4x64_epi64(high, 0xD8));
    return total;
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* codes, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, std::size_t positions, Sums (*sums)[Columns]) {
    Sums own[Blocks][Columns];
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) own[u][c] = {ByteSums::zero(), ByteSums::zero()};
    }
    for (std::size_t b = 0; b < positions; ++b) {
      for (int u = 0; u < Blocks; ++u) {
        __m256i code = load32(codes[u] + b * kLutRows);
        if (Masked) code = _mm256_and_si256(code, load32(mask[u] + b * kLutRows));
        prefetch(codes[u] + b * kLutRows);
        const __m256i lower = _mm256_and_si256(code, nibble);
        const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(code, 4), nibble);
        for (int c = 0; c < Columns; ++c) {
          const unsigned char* table = tables[c] + b * bytes;
          own[u][c].low.add(_mm256_shuffle_epi8(load_table(table), lower));
          own[u][c].low.add(_mm256_shuffle_epi8(load_table(table + 16), upper));
          own[u][c].high.add(_mm256_shuffle_epi8(load_table(table + 32), lower));
          own[u][c].high.add(_mm256_shuffle_epi8(load_table(table + 48), upper));
        }
      }
    }
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) sums[u][c] = own[u][c];
    }
  }

  static void finish(const Sums& sums, std::size_t positions, float scale, __m256* out) {
    const __m256i bias = _mm256_set1_epi32(static_cast<int>(positions * 2 * 32768));
    __m256i low[4], high[4];
    sums.low.widen(low);
    sums.high.widen(high);
    for (int i = 0; i < 4; ++i) {
      const __m256i wide = _mm256_add_epi32(low[i], _mm256_slli_epi32(high[i], 8));
      out[i] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(wide, bias)), _mm256_set1_ps(scale));
    }
  }
};

}  // namespace

static_assert(32 <= kMostPositions, "no sum may overflow");
const LutKernel kLut16Avx2 = {Table16::bytes, 32, build_rounded<Table16>, multiply_with<Table16>};

}  // namespace dtc
