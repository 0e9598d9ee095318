#include "forms/dense_matrix.h"

#include "forms/pieces.h"
#include "kernels/gemm.h"

namespace dtc {

std::unique_ptr<Matrix> DenseMatrix::make(const Tensor& weight) {
  require(weight, "weight", {Type::f32}, 2);
  return std::make_unique<DenseMatrix>(weight.as<float>(), static_cast<std::size_t>(weight.shape[0]),
                                       static_cast<std::size_t>(weight.shape[1]));
}

void DenseMatrix::multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  const double floats = static_cast<double>(rows()) * static_cast<double>(cols());
  // About 5000 floats a microsecond come from memory, and 40000 products are made.
  const std::size_t pieces = pieces_for(floats * (1 / 5e3 + static_cast<double>(count) / 4e4));
  parallel(pieces, [&](std::size_t piece) {
    const Range part = rows_of(rows(), pieces, piece);
    gemm_kernels().multiply(x, cols(), count, weight_ + part.begin * cols(), cols(), part.end - part.begin, cols(),
                            y + part.begin, rows());
  });
}

}  // namespace dtc
