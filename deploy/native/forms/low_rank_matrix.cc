#include "forms/low_rank_matrix.h"

#include <string>
#include <utility>
#include <vector>

#include "forms/inputs.h"

namespace dtc {

LowRankMatrix::LowRankMatrix(std::unique_ptr<Matrix> left, std::unique_ptr<Matrix> right)
    : Matrix(left->rows(), right->cols()), left_(std::move(left)), right_(std::move(right)) {
  require(left_->cols() == right_->rows(), "the left factor has " + std::to_string(left_->cols()) +
                                               " columns, but the right one has " + std::to_string(right_->rows()) +
                                               " rows");
}

void LowRankMatrix::multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  std::vector<float> inner(count * right_->rows());
  right_->multiply(x, count, inner.data(), parallel);
  left_->multiply(inner.data(), count, y, parallel);
}

}  // namespace dtc
