// Weights of sign planes with coefficients, row by row or in groups of columns: binary codes.
#ifndef DTC_FORMS_BINARY_MATRIX_H_
#define DTC_FORMS_BINARY_MATRIX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "forms/binary_codes.h"
#include "forms/binary_columns.h"
#include "forms/binary_tiles.h"
#include "forms/matrix.h"
#include "kernels/lut.h"
#include "kernels/sign_tile.h"

namespace dtc {

/// Products with binary codes in blocks of 32 rows.
class BinaryMatrix : public Matrix {
 public:
  /// codes: uint8 [planes, rows * B], B = ceil(in_features / 8): for each block of 32 rows, for each byte position, the
  /// bytes of the block's rows one after another; the last block has only the rows that are left. Input 8 b + i is bit
  /// i of byte b, 1 is +1. One plane more than `bits` is the mask, bit 0 being a weight of 0. alphas: float or float16
  /// [bits (+ 1), groups, rows]; one more than `bits` is the constant term. accuracy_level: 0 float arithmetic, 1
  /// tables of 16 bits, 4 tables of 8 bits, or better.
  ///
  /// Both outlive the matrix. Throws Error where they do not fit together.
  static std::unique_ptr<Matrix> make(const Tensor& codes, const Tensor& alphas, std::int64_t bits,
                                      std::int64_t in_features, std::int64_t group_size, std::int64_t accuracy_level);

  void multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const override;

 private:
  BinaryMatrix(const BinaryShape& shape, const Tensor& codes, const Tensor& alphas, int accuracy_level);
  void copy_last_block();
  LutBlock block(std::size_t index, std::size_t plane) const;
  std::size_t least_decoded() const;
  void look_up(const float* x, std::size_t count, float* y, const Parallel& parallel) const;
  void look_up_pairs(const Range& pairs, const BinaryColumns& columns, float* y) const;
  void look_up_blocks(const LutCodes& codes, std::size_t first, std::size_t plane, const BinaryColumns::Some& columns,
                      bool adds, float* y) const;
  void multiply_decoded(const float* x, std::size_t count, float* y, const Parallel& parallel) const;
  void multiply_block(std::size_t index, const float* x, std::size_t count, float* y) const;

  BinaryShape shape_;
  const std::uint8_t* codes_;
  const std::uint8_t* alphas_;
  const LutKernel& kernel_;
  const SignTileKernel* tile_;
  std::size_t least_decoded_;  ///< columns from which on decoding is faster than lookups
  std::vector<LutSpan> spans_;
  std::vector<Range> runs_;  ///< of spans, whose tables stay in the nearest cache
  LutCodes lut_;
  BinaryTiles tiles_;
  std::vector<std::uint8_t> last_codes_, last_alphas_;  ///< the last block, filled up to 32 rows
};

/// Rows of binary codes that lie row after row.
class BinaryRows : public Rows {
 public:
  /// codes: uint8 [planes, rows, B]; alphas: float or float16 [bits (+ 1), rows, groups]; else as BinaryMatrix::make.
  static std::unique_ptr<Rows> make(const Tensor& codes, const Tensor& alphas, std::int64_t bits,
                                    std::int64_t in_features, std::int64_t group_size);

  void decode(std::size_t row, float* out) const override;

 private:
  BinaryRows(const BinaryShape& shape, const Tensor& codes, const Tensor& alphas);
  float alpha(std::size_t term, std::size_t row, std::size_t group) const;

  BinaryShape shape_;
  const std::uint8_t* codes_;
  const void* alphas_;
};

}  // namespace dtc

#endif  // DTC_FORMS_BINARY_MATRIX_H_
