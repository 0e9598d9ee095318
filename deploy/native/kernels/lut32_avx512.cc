// Lookup in tables of floats: the 16 signed sums of four inputs fill a register, and each of 16 rows takes one.
#include "kernels/lut_avx512.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Per byte position the signed sums of the lower four inputs, then those of the upper four.
struct Table32 {
  static constexpr std::size_t bytes = 128;

  /// The code bytes of 16 rows; only the lower four bits of a lane choose.
  template <bool Masked>
  static __m512i code_of(const std::uint8_t* signs, const std::uint8_t* mask) {
    __m128i code = _mm_loadu_si128(reinterpret_cast<const __m128i*>(signs));
    if (Masked) code = _mm_and_si128(code, _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask)));
    return _mm512_cvtepu8_epi32(code);
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, const LutSpan& span, const float*,
                      __m512 (*sums)[Columns][Avx512::vectors]) {
    __m512 own[Blocks][Columns][Avx512::vectors];
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) {
        for (std::size_t h = 0; h < Avx512::vectors; ++h) own[u][c][h] = sums[u][c][h];
      }
    }
    for (std::size_t b = span.begin; b < span.end; ++b) {
      __m512i lower[Blocks][Avx512::vectors], upper[Blocks][Avx512::vectors];
      for (int u = 0; u < Blocks; ++u) {
        prefetch(signs[u] + b * kLutRows);
        for (std::size_t h = 0; h < Avx512::vectors; ++h) {
          const std::size_t at = b * kLutRows + h * Avx512::lanes;
          lower[u][h] = code_of<Masked>(signs[u] + at, mask[u] + at);
          upper[u][h] = _mm512_srli_epi32(lower[u][h], 4);
        }
      }
      for (int c = 0; c < Columns; ++c) {
        const float* table = reinterpret_cast<const float*>(tables[c] + b * bytes);
        const __m512 first = _mm512_loadu_ps(table), second = _mm512_loadu_ps(table + 16);
        for (int u = 0; u < Blocks; ++u) {
          for (std::size_t h = 0; h < Avx512::vectors; ++h) {
            const __m512 sum =
                _mm512_add_ps(_mm512_permutexvar_ps(lower[u][h], first), _mm512_permutexvar_ps(upper[u][h], second));
            own[u][c][h] = _mm512_add_ps(own[u][c][h], sum);
          }
        }
      }
    }
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) {
        for (std::size_t h = 0; h < Avx512::vectors; ++h) sums[u][c][h] = own[u][c][h];
      }
    }
  }
};

void build(const float* x, const LutSpan* spans, std::size_t span_count, unsigned char* tables, LutFactors* factors) {
  for (std::size_t s = 0; s < span_count; ++s) {
    __m512 total = _mm512_setzero_ps();
    for (std::size_t b = spans[s].begin; b < spans[s].end; ++b) {
      float* table = reinterpret_cast<float*>(tables + b * Table32::bytes);
      const __m512 lower = nibble_table(x + 8 * b), upper = nibble_table(x + 8 * b + 4);
      _mm512_storeu_ps(table, lower);
      _mm512_storeu_ps(table + 16, upper);
      // In the order of the lookups: where all is masked, the two then cancel exactly.
      total = _mm512_add_ps(total, _mm512_add_ps(lower, upper));
    }
    const float sum = last_of(total);
    factors[s] = {1.0F, sum, sum};
  }
}

}  // namespace

// Spans as long as groups: in float, sums of sums would be added in another order than here.
const LutKernel kLut32Avx512 = {Table32::bytes, static_cast<std::size_t>(-1), build, multiply_wide<Table32>, 4.0,
                                kColumns};

}  // namespace dtc
