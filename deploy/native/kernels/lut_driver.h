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

/// Asks for the coefficients of two pairs of blocks further on: with many groups they are spread over memory, which
/// without this makes a product 3 times as slow (groups of 128, 4096 x 4096).
template <class Simd>
inline void prefetch_alphas(const LutCodes& codes, const LutBlock& block, std::size_t term, std::size_t group) {
  const std::size_t at = term * block.term_stride + group * block.group_stride + 4 * kLutRows;
  const char* from = static_cast<const char*>(block.alphas) + at * (codes.half ? 2 : 4);
  Simd::prefetch(from);
  if (!codes.half) Simd::prefetch(from + 64);
}

/// y += alpha * sums, for one plane.
template <class Simd>
inline void add_plane(const LutCodes& codes, const LutBlock& block, std::size_t plane, std::size_t group,
                      const typename Simd::F* sums, float* y) {
  prefetch_alphas<Simd>(codes, block, plane, group);
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

/// Code bytes are asked for this far ahead, but not beyond the next pair of blocks: 1.7 times as fast as 1 KiB, where
/// they come from memory (Zen 5, 4096 x 4096); the processor's own reading ahead stops at every page.
constexpr std::size_t kAhead = 8192;

/// What to ask for when a block's plane is read from position `begin` on.
inline const std::uint8_t* ahead_of(const LutCodes& codes, const LutBlock& block, std::size_t plane,
                                    std::size_t begin) {
  const std::size_t length = codes.positions * kLutRows;
  const std::size_t at = begin * kLutRows + (length < kAhead ? length : kAhead);
  const std::size_t start = plane * block.plane_stride;
  return at < length ? block.codes + start + at : block.next + start + (at - length);
}

/// The first span from `first` on that belongs to another group.
inline std::size_t group_end(const LutCodes& codes, std::size_t first) {
  std::size_t end = first + 1;
  while (end < codes.span_count && codes.spans[end].group == codes.spans[first].group) ++end;
  return end;
}

/// totals = the signed sums of one plane over the spans [first, end), of every column and block.
template <class Table, int Blocks, int Columns, bool Masked>
[[gnu::noinline]] void sum_plane(const LutCodes& codes, const LutBlock* blocks, const LutColumn* columns,
                                 std::size_t plane, std::size_t first, std::size_t end,
                                 typename Table::Simd::F (*totals)[Table::Simd::vectors]) {
  for (std::size_t s = first; s < end; ++s) {
    const LutSpan span = codes.spans[s];
    const std::uint8_t *signs[Blocks], *mask[Blocks], *ahead[Blocks];
    for (int u = 0; u < Blocks; ++u) {
      signs[u] = blocks[u].codes + plane * blocks[u].plane_stride + span.begin * kLutRows;
      ahead[u] = ahead_of(codes, blocks[u], plane, span.begin);
      mask[u] = blocks[u].codes + codes.bits * blocks[u].plane_stride + span.begin * kLutRows;
    }
    const unsigned char* tables[Columns];
    float scales[Columns];
    for (int c = 0; c < Columns; ++c) {
      tables[c] = columns[c].tables + span.begin * Table::bytes;
      scales[c] = columns[c].factors[s].scale;
    }
    Table::template look_up<Blocks, Columns, Masked>(signs, mask, ahead, tables, span.end - span.begin, scales,
                                                     s == first, totals);
  }
}

/// Sums over the spans [first, end) of a column.
inline LutFactors sum_of_spans(const LutColumn& column, std::size_t first, std::size_t end) {
  LutFactors all = {1.0F, 0.0F, 0.0F};
  for (std::size_t s = first; s < end; ++s) {
    all.sum += column.factors[s].sum;
    all.table_sum += column.factors[s].table_sum;
  }
  return all;
}

/// The products of `Blocks` blocks with `Columns` columns.
template <class Table, int Blocks, int Columns, bool Masked>
void multiply_tile(const LutCodes& codes, const LutBlock* blocks, const LutColumn* columns, const LutOutput& out) {
  using Simd = typename Table::Simd;
  float* to[Blocks * Columns];
  for (int i = 0; i < Blocks * Columns; ++i) {
    to[i] = out.y + static_cast<std::size_t>(i / Blocks) * out.stride + static_cast<std::size_t>(i % Blocks) * kLutRows;
    for (std::size_t row = 0; row < (out.adds ? 0 : kLutRows); row += Simd::lanes) {
      Simd::store(to[i] + row, Simd::set(0.0F));
    }
  }
  for (std::size_t first = 0, end = 0; first < codes.span_count; first = end) {
    end = group_end(codes, first);
    const std::size_t group = codes.spans[first].group;
    typename Simd::F totals[Blocks * Columns][Simd::vectors];
    for (std::size_t plane = 0; plane < codes.bits; ++plane) {
      sum_plane<Table, Blocks, Columns, Masked>(codes, blocks, columns, plane, first, end, totals);
      for (int i = 0; i < Blocks * Columns; ++i) {
        add_plane<Simd>(codes, blocks[i % Blocks], plane, group, totals[i], to[i]);
      }
    }
    if (!Masked && !codes.constant) continue;
    if (Masked) sum_plane<Table, Blocks, Columns, Masked>(codes, blocks, columns, codes.bits, first, end, totals);
    for (int i = 0; i < Blocks * Columns; ++i) {
      const LutFactors all = sum_of_spans(columns[i / Blocks], first, end);
      if (Masked) {
        add_mask<Simd>(codes, blocks[i % Blocks], group, all.table_sum, totals[i], to[i]);
      } else {
        add_constant<Simd>(codes, blocks[i % Blocks], group, all.sum, to[i]);
      }
    }
  }
}

template <class Table, int Blocks, int Columns>
void multiply_blocks(const LutCodes& codes, const LutBlock* blocks, const LutColumn* columns, const LutOutput& out) {
  if (codes.masked) {
    multiply_tile<Table, Blocks, Columns, true>(codes, blocks, columns, out);
  } else {
    multiply_tile<Table, Blocks, Columns, false>(codes, blocks, columns, out);
  }
}

/// Byte positions whose rounded tables share a scale. One for 1024 inputs rather than for these 128 is up to a tenth
/// faster, but its error is 8.2e-3 rather than 7.4e-3 (8 bits) and 3.3e-5 rather than 2.7e-5 (16 bits) where x is
/// normal, and 1.6 times as large where one in 64 inputs is 20 times the others.
constexpr std::size_t kRoundedPositions = 16;

/// `LutKernel::build` for tables of whole numbers up to Table::largest; Table::store writes the tables of 8 scaled
/// inputs and returns the sum of the entries that add all inputs.
template <class Table>
void build_rounded(const float* x, const LutSpan* spans, std::size_t span_count, unsigned char* tables,
                   LutFactors* factors) {
  for (std::size_t s = 0; s < span_count; ++s) {
    float sum, largest;
    Table::Simd::measure(x, spans[s].begin, spans[s].end, &sum, &largest);
    // What is not finite shows in the sum, even where the maximum does not see it.
    const bool finite = sum - sum == 0.0F && largest - largest == 0.0F;
    // Below this, the inverse would overflow; what is rounded to nothing then is nothing beside it.
    largest = finite && largest > 1e-30F ? largest : 1e-30F;
    const float inverse = static_cast<float>(Table::largest) / largest;
    int total = 0;
    for (std::size_t b = spans[s].begin; b < spans[s].end; ++b) {
      float scaled[8];
      for (std::size_t i = 0; i < 8; ++i) scaled[i] = x[8 * b + i] * inverse;
      total += Table::store(scaled, tables + b * Table::bytes);
    }
    const float scale = finite ? largest / static_cast<float>(Table::largest) : __builtin_nanf("");
    factors[s] = {scale, sum, scale * static_cast<float>(total)};
  }
}

/// `LutKernel::multiply` with the tables of `Table`.
///
/// Table::joined is whether two blocks and two columns go together: a block's bits are unpacked once for both columns
/// and a column's tables read once for both blocks, but there must be registers for all the sums.
template <class Table>
void multiply_with(const LutCodes& codes, const LutBlock* blocks, std::size_t block_count, const LutColumn* columns,
                   std::size_t column_count, const LutOutput& out) {
  if (column_count == 1) {
    if (block_count == 1) return multiply_blocks<Table, 1, 1>(codes, blocks, columns, out);
    return multiply_blocks<Table, 2, 1>(codes, blocks, columns, out);
  }
  if constexpr (Table::joined) {
    if (block_count == 2) return multiply_blocks<Table, 2, 2>(codes, blocks, columns, out);
  }
  for (std::size_t u = 0; u < block_count; ++u) {
    multiply_blocks<Table, 1, 2>(codes, blocks + u, columns, {out.y + u * kLutRows, out.stride, out.adds});
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_DRIVER_H_
