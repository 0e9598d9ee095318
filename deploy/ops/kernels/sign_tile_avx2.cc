#include "kernels/lut_avx2.h"
#include "kernels/sign_tile.h"

namespace dtc {
namespace {

inline __m256i load_codes(const std::uint8_t* from) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}

/// Eight rows, from `row` on, of one tile.
template <int Bits, bool Masked>
void decode_rows(const LutCodes& codes, const LutBlock& block, std::size_t begin, std::size_t end, std::size_t group,
                 std::size_t row, float* weights) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 minus[Bits];
  for (int p = 0; p < Bits; ++p) {
    const std::size_t term = static_cast<std::size_t>(p);
    minus[p] = _mm256_xor_ps(sign, alphas_at<Avx2>(codes, block, term, group, row));
  }
  const __m256 constant = codes.constant ? alphas_at<Avx2>(codes, block, codes.bits, group, row) : _mm256_setzero_ps();
  for (std::size_t b = begin; b < end; ++b) {
    const std::uint8_t* from = block.codes + b * kLutRows + row;
    __m256i bits[Bits + 1];
    for (int p = 0; p < Bits + (Masked ? 1 : 0); ++p) {
      bits[p] = _mm256_slli_epi32(load_codes(from + static_cast<std::size_t>(p) * block.plane_stride), 24);
    }
    float* to = weights + (b - begin) * 8 * kLutRows + row;
    for (std::size_t bit = 8; bit-- > 0;) {
      // Where the topmost bit is set, it turns minus a coefficient into the coefficient.
      __m256 weight = constant;
      for (int p = 0; p < Bits; ++p) {
        weight = _mm256_add_ps(weight, _mm256_xor_ps(minus[p], _mm256_and_ps(sign, _mm256_castsi256_ps(bits[p]))));
        bits[p] = _mm256_slli_epi32(bits[p], 1);
      }
      if (Masked) {
        weight = _mm256_and_ps(weight, _mm256_castsi256_ps(_mm256_srai_epi32(bits[Bits], 31)));
        bits[Bits] = _mm256_slli_epi32(bits[Bits], 1);
      }
      _mm256_storeu_ps(to + bit * kLutRows, weight);
    }
  }
}

template <int Bits>
void decode_bits(const LutCodes& codes, const LutBlock& block, std::size_t begin, std::size_t end, std::size_t group,
                 float* weights) {
  for (std::size_t row = 0; row < kLutRows; row += 8) {
    if (codes.masked) {
      decode_rows<Bits, true>(codes, block, begin, end, group, row, weights);
    } else {
      decode_rows<Bits, false>(codes, block, begin, end, group, row, weights);
    }
  }
}

void decode(const LutCodes& codes, const LutBlock& block, std::size_t begin, std::size_t end, std::size_t group,
            float* weights) {
  constexpr void (*by_bits[])(const LutCodes&, const LutBlock&, std::size_t, std::size_t, std::size_t, float*) = {
      decode_bits<1>, decode_bits<2>, decode_bits<3>, decode_bits<4>,
      decode_bits<5>, decode_bits<6>, decode_bits<7>, decode_bits<8>};
  by_bits[codes.bits - 1](codes, block, begin, end, group, weights);
}

/// Columns that are multiplied at a time: with 16 rows, 12 sums in registers, which hides the latency of fma.
constexpr std::size_t kMostColumns = 6;

template <int Columns>
void multiply_columns(const float* weights, std::size_t depth, const float* x, std::size_t stride, float* y) {
  for (std::size_t row = 0; row < kLutRows; row += 16) {
    __m256 low[Columns], high[Columns];
    for (std::size_t c = 0; c < Columns; ++c) {
      low[c] = _mm256_loadu_ps(y + c * kLutRows + row);
      high[c] = _mm256_loadu_ps(y + c * kLutRows + row + 8);
    }
    for (std::size_t k = 0; k < depth; ++k) {
      const __m256 first = _mm256_loadu_ps(weights + k * kLutRows + row);
      const __m256 second = _mm256_loadu_ps(weights + k * kLutRows + row + 8);
      for (std::size_t c = 0; c < Columns; ++c) {
        const __m256 value = _mm256_broadcast_ss(x + c * stride + k);
        low[c] = _mm256_fmadd_ps(first, value, low[c]);
        high[c] = _mm256_fmadd_ps(second, value, high[c]);
      }
    }
    for (std::size_t c = 0; c < Columns; ++c) {
      _mm256_storeu_ps(y + c * kLutRows + row, low[c]);
      _mm256_storeu_ps(y + c * kLutRows + row + 8, high[c]);
    }
  }
}

void multiply(const float* weights, std::size_t depth, const float* x, std::size_t stride, std::size_t columns,
              float* y) {
  constexpr void (*by_columns[])(const float*, std::size_t, const float*, std::size_t, float*) = {
      multiply_columns<1>, multiply_columns<2>, multiply_columns<3>,
      multiply_columns<4>, multiply_columns<5>, multiply_columns<6>};
  while (columns > 0) {
    // Equal shares rather than a small rest.
    const std::size_t passes = (columns + kMostColumns - 1) / kMostColumns;
    const std::size_t taken = (columns + passes - 1) / passes;
    by_columns[taken - 1](weights, depth, x, stride, y);
    x += taken * stride;
    y += taken * kLutRows;
    columns -= taken;
  }
}

}  // namespace

extern const SignTileKernel kSignTileAvx2;
const SignTileKernel kSignTileAvx2 = {decode, multiply};

}  // namespace dtc
