// Products with sign codes by lookup: of the inputs of a few code bits every signed sum is computed once, and each
// row's bits then choose one (T-MAC, arXiv 2407.00088; BiQGEMM, arXiv 2005.09904).
#ifndef DTC_KERNELS_LUT_H_
#define DTC_KERNELS_LUT_H_

#include <cstddef>
#include <cstdint>

namespace dtc {

/// Rows whose code bytes of one position lie side by side, so that one instruction looks all of them up.
constexpr std::size_t kLutRows = 32;

/// No kernel multiplies more columns at a time.
constexpr std::size_t kLutColumns = 8;

/// A run of byte positions, that is of 8 inputs each, that share their coefficients and the scale of their tables.
struct LutSpan {
  std::size_t begin, end, group;
};

/// What all blocks of a weight have in common. Its planes are `bits` of signs and, if masked, the mask.
struct LutCodes {
  std::size_t bits;
  bool masked;            ///< plane `bits` is the mask
  bool constant;          ///< term `bits` of the coefficients is a constant
  bool half;              ///< coefficients are float16, else float
  std::size_t positions;  ///< byte positions of a row
  const LutSpan* spans;
  std::size_t span_count;
};

/// Where 32 rows lie: code byte (plane p, position b, row r) at codes[p * plane_stride + 32 * b + r], coefficient (term
/// t, group g, row r) at element t * term_stride + g * group_stride + r of alphas.
struct LutBlock {
  const std::uint8_t* codes;
  std::size_t plane_stride;
  const void* alphas;
  std::size_t term_stride, group_stride;
  const std::uint8_t* next;  ///< as `codes`, of what is multiplied after this block; read ahead of its turn
};

/// What a span of a column needs besides the tables: the value of a table's unit, the sum of the inputs, and the same
/// sum as the tables have it. Where spans share a unit, `weight` is how many of it an entry's unit is, in each byte.
struct LutFactors {
  float scale, sum, table_sum;
  std::uint32_t weight = 0;
};

/// A column of x, as tables: those of byte position b are at tables + b * table_bytes.
struct LutColumn {
  const unsigned char* tables;
  const LutFactors* factors;  ///< of each span
};

/// Where products go: that of a column and row `row` of a block at y[column * stride + block * 32 + row].
struct LutOutput {
  float* y;
  std::size_t stride;
  bool adds;  ///< to what is there
};

/// A kind of table for one instruction set.
struct LutKernel {
  std::size_t table_bytes;  ///< of a byte position
  std::size_t span_bytes;   ///< a span has at most so many byte positions
  /// Makes the tables of x, which is padded with zeros to whole bytes. Where a scale is not finite, so is all output.
  void (*build)(const float* x, const LutSpan* spans, std::size_t span_count, unsigned char* tables,
                LutFactors* factors);
  /// The products of one or two blocks with up to `columns` columns.
  void (*multiply)(const LutCodes& codes, const LutBlock* blocks, std::size_t block_count, const LutColumn* columns,
                   std::size_t column_count, const LutOutput& out);
  double cycles;            ///< that 8 inputs of 32 rows take, in one plane and with one column of many
  std::size_t columns = 2;  ///< at most kLutColumns
};

/// The fastest kernel here that is at least that accurate: 0 float tables, 1 tables of 16 bits, 4 tables of 8 bits.
const LutKernel& lut_kernel(int accuracy_level);

}  // namespace dtc

#endif  // DTC_KERNELS_LUT_H_
