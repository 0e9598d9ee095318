// A weight that is the product of two narrower ones.
#ifndef DTC_FORMS_LOW_RANK_MATRIX_H_
#define DTC_FORMS_LOW_RANK_MATRIX_H_

#include <memory>

#include "forms/matrix.h"

namespace dtc {

/// W = left right, of left [rows, rank] and right [rank, cols], each in any form.
class LowRankMatrix final : public Matrix {
 public:
  /// Throws Error unless left has as many columns as right has rows.
  LowRankMatrix(std::unique_ptr<Matrix> left, std::unique_ptr<Matrix> right);

  void multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const override;

 private:
  std::unique_ptr<Matrix> left_, right_;
};

}  // namespace dtc

#endif  // DTC_FORMS_LOW_RANK_MATRIX_H_
