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

  template <int Columns, bool Masked>
  static void look_up(const PlaneCodes& codes, const LutColumn* columns, const LutSpan* spans, std::size_t first,
                      std::size_t end, const PlaneOutput<Columns>& out) {
    __m512 own[Columns][Avx512::vectors];
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) own[c][0] = own[c][1] = _mm512_setzero_ps();
    for (std::size_t b = spans[first].begin; b < spans[end - 1].end; ++b) {
      __m512i lower[Avx512::vectors], upper[Avx512::vectors];
      prefetch(codes.ahead + b * kLutRows);
      for (std::size_t h = 0; h < Avx512::vectors; ++h) {
        const std::size_t at = b * kLutRows + h * Avx512::lanes;
        lower[h] = code_of<Masked>(codes.signs + at, codes.mask + at);
        upper[h] = _mm512_srli_epi32(lower[h], 4);
      }
#pragma GCC unroll 8
      for (int c = 0; c < Columns; ++c) {
        const float* table = reinterpret_cast<const float*>(columns[c].tables + b * bytes);
        const __m512 below = _mm512_loadu_ps(table), above = _mm512_loadu_ps(table + 16);
        for (std::size_t h = 0; h < Avx512::vectors; ++h) {
          const __m512 sum =
              _mm512_add_ps(_mm512_permutexvar_ps(lower[h], below), _mm512_permutexvar_ps(upper[h], above));
          own[c][h] = _mm512_add_ps(own[c][h], sum);
        }
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) out.add(c, own[c]);
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
