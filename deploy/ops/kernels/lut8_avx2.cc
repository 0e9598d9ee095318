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
  static constexpr int largest = 127;

  static int store(__m256i lower, __m256i upper, unsigned char* to) {
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(lower, upper), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_xor_si256(both, _mm256_set1_epi8(-128)));
    return to[15] + to[31] - 256;
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* codes, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, std::size_t positions, Sums (*sums)[Columns]) {
    Sums own[Blocks][Columns];
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) own[u][c] = Sums::zero();
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
          own[u][c].add(_mm256_shuffle_epi8(load_table(table), lower));
          own[u][c].add(_mm256_shuffle_epi8(load_table(table + 16), upper));
        }
      }
    }
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) sums[u][c] = own[u][c];
    }
  }

  static void finish(const Sums& sums, std::size_t positions, float scale, __m256* out) {
    const __m256i bias = _mm256_set1_epi32(static_cast<int>(positions * 2 * 128));
    __m256i wide[4];
    sums.widen(wide);
    for (int i = 0; i < 4; ++i) {
      const __m256 sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(wide[i], bias));
      out[i] = _mm256_mul_ps(sum, _mm256_set1_ps(scale));
    }
  }
};

}  // namespace

// A scale of its own for every 128 inputs: half the error of one a row where x has outliers, 5 % of the time.
static_assert(16 <= kMostPositions, "no sum may overflow");
const LutKernel kLut8Avx2 = {Table8::bytes, 16, build_rounded<Table8>, multiply_with<Table8>};

}  // namespace dtc
