// Sparse weights stored as values and a bit for each place.
#ifndef DTC_FORMS_BITMAP_MATRIX_H_
#define DTC_FORMS_BITMAP_MATRIX_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "forms/inputs.h"
#include "forms/matrix.h"
#include "forms/sparse_product.h"

namespace dtc {

/// Checked arrays of a weight in bitmap form, read where they are. Held besides: where the values of each row begin.
class BitmapArray {
 public:
  /// `values` float or half [count]; `bitmap` uint8 [rows, ceil(cols / 8)], the lowest bit first. Throws Error unless
  /// there are as many bits as values, none of them behind column `cols`.
  BitmapArray(const Tensor& values, const Tensor& bitmap, std::int64_t cols);

  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }
  std::size_t count() const { return row_begins_.back(); }
  CsrValue value() const { return value_; }
  const void* values() const { return values_; }
  /// The bits of a row, ceil(cols / 8) bytes.
  const std::uint8_t* bits(std::size_t row) const { return bitmap_ + row * stride_; }
  const std::uint32_t* row_begins() const { return row_begins_.data(); }

 private:
  std::size_t rows_, cols_, stride_;
  CsrValue value_;
  const void* values_;
  const std::uint8_t* bitmap_;
  std::vector<std::uint32_t> row_begins_;
};

/// A weight that multiplies. Following the bits in every product takes longer than the product (by a table of the bits
/// of a byte, about 0.4 ns for every 8 weights), so their columns are held: a byte a value, and 2 bytes for the number
/// of values in each 256 columns. With what it is made of that is 1.2 times the bitmap and float values, from 50 to
/// 95 % zeros; it is 1.3 to 1.45 times the bitmap and half values.
class BitmapMatrix : public Matrix {
 public:
  static std::unique_ptr<Matrix> make(const Tensor& values, const Tensor& bitmap, std::int64_t cols);
  explicit BitmapMatrix(BitmapArray array);

  void multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const override;

 private:
  BitmapArray array_;
  std::unique_ptr<std::uint8_t[]> columns_;
  std::vector<std::uint16_t> block_counts_;
  SparseWeight weight_;
};

/// A table whose rows are had one by one, from the bits themselves.
class BitmapRows : public Rows {
 public:
  static std::unique_ptr<Rows> make(const Tensor& values, const Tensor& bitmap, std::int64_t cols);
  explicit BitmapRows(BitmapArray array);

  void decode(std::size_t row, float* out) const override;

 private:
  BitmapArray array_;
};

}  // namespace dtc

#endif  // DTC_FORMS_BITMAP_MATRIX_H_
