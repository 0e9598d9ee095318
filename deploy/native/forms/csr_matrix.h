// Weights in compressed sparse rows.
#ifndef DTC_FORMS_CSR_MATRIX_H_
#define DTC_FORMS_CSR_MATRIX_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "forms/inputs.h"
#include "forms/matrix.h"
#include "forms/sparse_product.h"

namespace dtc {

/// Checked arrays of a weight in compressed sparse rows, read where they are. Held besides: the row pointers, where
/// they are stored in less than 32 bits.
class CsrArray {
 public:
  /// `values` float or half [count], `columns` and `row_pointers` uint8, uint16 or uint32 [count] and [rows + 1].
  /// Throws Error unless the pointers rise from 0 to the count, and every column is below `cols`.
  CsrArray(const Tensor& values, const Tensor& columns, const Tensor& row_pointers, std::int64_t cols);
  CsrArray(CsrArray&&) = default;  // and no copy: the weight points to the row pointers

  const SparseWeight& weight() const { return weight_; }
  std::size_t rows() const { return weight_.rows; }
  std::size_t cols() const { return weight_.cols; }

 private:
  SparseWeight weight_;
  std::vector<std::uint32_t> row_begins_;
};

/// A weight that multiplies.
class CsrMatrix : public Matrix {
 public:
  static std::unique_ptr<Matrix> make(const Tensor& values, const Tensor& columns, const Tensor& row_pointers,
                                      std::int64_t cols);
  explicit CsrMatrix(CsrArray array);

  void multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const override;

 private:
  CsrArray array_;
};

/// A table whose rows are had one by one.
class CsrRows : public Rows {
 public:
  static std::unique_ptr<Rows> make(const Tensor& values, const Tensor& columns, const Tensor& row_pointers,
                                    std::int64_t cols);
  explicit CsrRows(CsrArray array);

  void decode(std::size_t row, float* out) const override;

 private:
  CsrArray array_;
};

}  // namespace dtc

#endif  // DTC_FORMS_CSR_MATRIX_H_
