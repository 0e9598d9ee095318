// What the tile kernels of all instruction sets share. Local to the files that include it, as kernels/lut_driver.h.
//
// `Simd` is a register of Simd::lanes rows, as the lookup kernels have it, and besides: `I`, as many 32-bit numbers;
// load_top(bytes), each in the uppermost byte of its number; doubled(I); with_sign(F, I), which flips the sign where
// the uppermost bit is set; and kept(F, I), which is 0 where it is not.
#ifndef DTC_KERNELS_SIGN_TILE_DRIVER_H_
#define DTC_KERNELS_SIGN_TILE_DRIVER_H_

#include "kernels/lut_driver.h"
#include "kernels/sign_tile.h"

namespace dtc {
namespace {

/// As many rows of a tile as a register holds, from `row` on.
template <class Simd, std::size_t Bits, bool Masked>
void decode_rows(const LutCodes& codes, const LutBlock& block, std::size_t begin, std::size_t end, std::size_t group,
                 std::size_t row, float* weights) {
  typename Simd::F minus[Bits];
  for (std::size_t p = 0; p < Bits; ++p) {
    minus[p] = Simd::sub(Simd::set(-0.0F), alphas_at<Simd>(codes, block, p, group, row));
  }
  const auto constant = codes.constant ? alphas_at<Simd>(codes, block, codes.bits, group, row) : Simd::set(0.0F);
  for (std::size_t b = begin; b < end; ++b) {
    typename Simd::I bits[Bits + 1];
    for (std::size_t p = 0; p < Bits + (Masked ? 1 : 0); ++p) {
      bits[p] = Simd::load_top(block.codes + p * block.plane_stride + b * kLutRows + row);
    }
    float* to = weights + (b - begin) * 8 * kLutRows + row;
    for (std::size_t bit = 8; bit-- > 0;) {
      auto weight = constant;
      for (std::size_t p = 0; p < Bits; ++p) {
        weight = Simd::add(weight, Simd::with_sign(minus[p], bits[p]));
        bits[p] = Simd::doubled(bits[p]);
      }
      if (Masked) {
        weight = Simd::kept(weight, bits[Bits]);
        bits[Bits] = Simd::doubled(bits[Bits]);
      }
      Simd::store(to + bit * kLutRows, weight);
    }
  }
}

template <class Simd, std::size_t Bits>
void decode_bits(const LutCodes& codes, const LutBlock& block, std::size_t begin, std::size_t end, std::size_t group,
                 float* weights) {
  for (std::size_t row = 0; row < kLutRows; row += Simd::lanes) {
    if (codes.masked) {
      decode_rows<Simd, Bits, true>(codes, block, begin, end, group, row, weights);
    } else {
      decode_rows<Simd, Bits, false>(codes, block, begin, end, group, row, weights);
    }
  }
}

/// `SignTileKernel::decode`.
template <class Simd>
void decode_tile(const LutCodes& codes, const LutBlock& block, std::size_t begin, std::size_t end, std::size_t group,
                 float* weights) {
  constexpr void (*by_bits[])(const LutCodes&, const LutBlock&, std::size_t, std::size_t, std::size_t, float*) = {
      decode_bits<Simd, 1>, decode_bits<Simd, 2>, decode_bits<Simd, 3>, decode_bits<Simd, 4>,
      decode_bits<Simd, 5>, decode_bits<Simd, 6>, decode_bits<Simd, 7>, decode_bits<Simd, 8>};
  by_bits[codes.bits - 1](codes, block, begin, end, group, weights);
}

template <class Simd, std::size_t Columns>
void multiply_columns(const float* weights, std::size_t depth, const float* x, std::size_t stride, float* y) {
  constexpr std::size_t vectors = Simd::tile;
  for (std::size_t row = 0; row < kLutRows; row += vectors * Simd::lanes) {
    typename Simd::F sums[Columns][vectors];
    for (std::size_t c = 0; c < Columns; ++c) {
      for (std::size_t v = 0; v < vectors; ++v) sums[c][v] = Simd::load(y + c * kLutRows + row + v * Simd::lanes);
    }
    for (std::size_t k = 0; k < depth; ++k) {
      typename Simd::F weight[vectors];
      for (std::size_t v = 0; v < vectors; ++v) weight[v] = Simd::load(weights + k * kLutRows + row + v * Simd::lanes);
      for (std::size_t c = 0; c < Columns; ++c) {
        const auto value = Simd::set(x[c * stride + k]);
        for (std::size_t v = 0; v < vectors; ++v) sums[c][v] = Simd::fma(weight[v], value, sums[c][v]);
      }
    }
    for (std::size_t c = 0; c < Columns; ++c) {
      for (std::size_t v = 0; v < vectors; ++v) Simd::store(y + c * kLutRows + row + v * Simd::lanes, sums[c][v]);
    }
  }
}

/// `SignTileKernel::multiply`, at most six columns at a time.
template <class Simd>
void multiply_decoded(const float* weights, std::size_t depth, const float* x, std::size_t stride, std::size_t columns,
                      float* y) {
  constexpr std::size_t most = 6;
  constexpr void (*by_columns[])(const float*, std::size_t, const float*, std::size_t, float*) = {
      multiply_columns<Simd, 1>, multiply_columns<Simd, 2>, multiply_columns<Simd, 3>,
      multiply_columns<Simd, 4>, multiply_columns<Simd, 5>, multiply_columns<Simd, most>};
  while (columns > 0) {
    // Equal shares rather than a small rest.
    const std::size_t passes = (columns + most - 1) / most;
    const std::size_t taken = (columns + passes - 1) / passes;
    by_columns[taken - 1](weights, depth, x, stride, y);
    x += taken * stride;
    y += taken * kLutRows;
    columns -= taken;
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_SIGN_TILE_DRIVER_H_
