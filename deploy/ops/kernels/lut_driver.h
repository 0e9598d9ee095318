// What the lookup kernels of all instruction sets and tables share: the walk over spans and planes, and coefficients.
//
// Included by the files of the instruction sets, each with its own `Table`; everything is local to the including file,
// as it is compiled for that file's instructions.
#ifndef DTC_KERNELS_LUT_DRIVER_H_
#define DTC_KERNELS_LUT_DRIVER_H_

#include "kernels/lut.h"

namespace dtc {
namespace {

/// Coefficients of `Simd::lanes` rows from `row` on.
template <class Simd>
inline typename Simd::F alphas_at(const LutCodes& codes, const LutBlock& block, std::size_t term, std::size_t group,
                                  std::size_t row) {
  const std::size_t at = term * block.term_stride + group * block.group_stride + row;
  if (codes.half) return Simd::load_half(static_cast<const std::uint16_t*>(block.alphas) + at);
  return Simd::load(static_cast<const float*>(block.alphas) + at);
}

/// y += alpha * sums, for one plane.
template <class Simd>
inline void add_plane(const LutCodes& codes, const LutBlock& block, std::size_t plane, std::size_t group,
                      const typename Simd::F* sums, float* y) {
  for (std::size_t i = 0; i < Simd::vectors; ++i) {
    const std::size_t row = i * Simd::lanes;
    const auto alpha = alphas_at<Simd>(codes, block, plane, group, row);
    Simd::store(y + row, Simd::fma(alpha, sums[i], Simd::load(y + row)));
  }
}

/// y += constant * sum of the inputs.
template <class Simd>
inline void add_constant(const LutCodes& codes, const LutBlock& block, std::size_t group, float sum, float* y) {
  for (std::size_t i = 0; i < Simd::vectors; ++i) {
    const std::size_t row = i * Simd::lanes;
    const auto constant = alphas_at<Simd>(codes, block, codes.bits, group, row);
    Simd::store(y + row, Simd::fma(constant, Simd::set(sum), Simd::load(y + row)));
  }
}

/// y += what a mask adds, given its own plane's sums.
///
/// With signs s, mask m in {0, 1} and t = 2 (s > 0 and m) - 1, mu = 2 m - 1, which are what is looked up:
/// s m = t + (1 - mu) / 2 and m = (1 + mu) / 2.
template <class Simd>
inline void add_mask(const LutCodes& codes, const LutBlock& block, std::size_t group, float sum,
                     const typename Simd::F* sums, float* y) {
  const auto whole = Simd::set(sum), half = Simd::set(0.5F);
  for (std::size_t i = 0; i < Simd::vectors; ++i) {
    const std::size_t row = i * Simd::lanes;
    auto alpha = alphas_at<Simd>(codes, block, 0, group, row);
    for (std::size_t p = 1; p < codes.bits; ++p) {
      alpha = Simd::add(alpha, alphas_at<Simd>(codes, block, p, group, row));
    }
    auto out = Simd::fma(alpha, Simd::mul(half, Simd::sub(whole, sums[i])), Simd::load(y + row));
    if (codes.constant) {
      const auto constant = alphas_at<Simd>(codes, block, codes.bits, group, row);
      out = Simd::fma(constant, Simd::mul(half, Simd::add(whole, sums[i])), out);
    }
    Simd::store(y + row, out);
  }
}

/// The products of `Blocks` blocks with `Columns` columns.
template <class Table, int Blocks, int Columns, bool Masked>
void multiply_tile(const LutCodes& codes, const LutBlock* blocks, const LutColumn* columns, float* y) {
  using Simd = typename Table::Simd;
  for (std::size_t i = 0; i < Blocks * Columns * kLutRows; ++i) y[i] = 0.0F;
  for (std::size_t s = 0; s < codes.span_count; ++s) {
    const LutSpan span = codes.spans[s];
    const unsigned char* tables[Columns];
    for (int c = 0; c < Columns; ++c) tables[c] = columns[c].tables + span.begin * Table::bytes;
    for (std::size_t plane = 0; plane < codes.bits + (Masked ? 1 : 0); ++plane) {
      const std::uint8_t *signs[Blocks], *mask[Blocks];
      for (int u = 0; u < Blocks; ++u) {
        signs[u] = blocks[u].codes + plane * blocks[u].plane_stride + span.begin * kLutRows;
        mask[u] = blocks[u].codes + codes.bits * blocks[u].plane_stride + span.begin * kLutRows;
      }
      typename Table::Sums sums[Blocks][Columns];
      Table::template look_up<Blocks, Columns, Masked>(signs, mask, tables, span.end - span.begin, sums);
      for (int c = 0; c < Columns; ++c) {
        for (int u = 0; u < Blocks; ++u) {
          typename Simd::F out[Simd::vectors];
          const LutFactors& factors = columns[c].factors[s];
          Table::finish(sums[u][c], span.end - span.begin, factors.scale, out);
          float* to = y + (c * Blocks + u) * kLutRows;
          if (Masked && plane == codes.bits) {
            add_mask<Simd>(codes, blocks[u], span.group, factors.table_sum, out, to);
          } else {
            add_plane<Simd>(codes, blocks[u], plane, span.group, out, to);
          }
        }
      }
    }
    if (Masked || !codes.constant) continue;
    for (int c = 0; c < Columns; ++c) {
      for (int u = 0; u < Blocks; ++u) {
        add_constant<Simd>(codes, blocks[u], span.group, columns[c].factors[s].sum, y + (c * Blocks + u) * kLutRows);
      }
    }
  }
}

template <class Table, int Blocks, int Columns>
void multiply_blocks(const LutCodes& codes, const LutBlock* blocks, const LutColumn* columns, float* y) {
  if (codes.masked) {
    multiply_tile<Table, Blocks, Columns, true>(codes, blocks, columns, y);
  } else {
    multiply_tile<Table, Blocks, Columns, false>(codes, blocks, columns, y);
  }
}

/// `LutKernel::multiply` with the tables of `Table`.
template <class Table>
void multiply_with(const LutCodes& codes, const LutBlock* blocks, std::size_t block_count, const LutColumn* columns,
                   std::size_t column_count, float* y) {
  if (block_count == 1) {
    if (column_count == 1) return multiply_blocks<Table, 1, 1>(codes, blocks, columns, y);
    return multiply_blocks<Table, 1, 2>(codes, blocks, columns, y);
  }
  if (column_count == 1) return multiply_blocks<Table, 2, 1>(codes, blocks, columns, y);
  return multiply_blocks<Table, 2, 2>(codes, blocks, columns, y);
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_DRIVER_H_
