// A weight of floats.
#ifndef DTC_FORMS_DENSE_MATRIX_H_
#define DTC_FORMS_DENSE_MATRIX_H_

#include <memory>

#include "forms/inputs.h"
#include "forms/matrix.h"

namespace dtc {

class DenseMatrix final : public Matrix {
 public:
  /// From float32 [rows, cols], which is read in place. Throws Error for another type or shape.
  static std::unique_ptr<Matrix> make(const Tensor& weight);

  DenseMatrix(const float* weight, std::size_t rows, std::size_t cols) : Matrix(rows, cols), weight_(weight) {}

  void multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const override;

 private:
  const float* weight_;
};

}  // namespace dtc

#endif  // DTC_FORMS_DENSE_MATRIX_H_
