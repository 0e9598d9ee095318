#include "forms/dense_matrix.h"

#include <limits>

#include "kernels/gemm.h"
#include "tests/dense_reference.h"

namespace dtc::testing {
namespace {

void check_product(std::size_t rows, std::size_t cols, std::size_t count) {
  const Floats weight = normal(rows * cols, 1), x = normal(count * cols, 2);
  const auto matrix = DenseMatrix::make(
      tensor(Type::f32, {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols)}, weight.data()));
  CHECK(matrix->rows() == rows && matrix->cols() == cols);
  CHECK(is_product(weight, x, product_of(*matrix, x, count), rows, cols, count));
}

}  // namespace

TEST(dense_products_of_small_sizes) {
  for (const std::size_t rows : {1, 3, 4, 8, 13, 33}) {
    for (const std::size_t cols : {1, 5, 8, 16, 31, 70}) {
      for (const std::size_t count : {1, 2, 3, 4, 5, 7, 8, 20, 33}) check_product(rows, cols, count);
    }
  }
}

TEST(dense_products_of_large_sizes) {
  check_product(650, 1301, 1);
  check_product(130, 5003, 20);  // x is divided along the depth
  check_product(37, 700, 197);   // and along its rows
  check_product(1021, 301, 3);
  check_product(5, 300000, 1);  // fewer rows than pieces of work
}

TEST(dense_products_of_nothing) {
  check_product(0, 5, 3);
  check_product(5, 0, 3);  // zeros
  check_product(5, 3, 0);
  check_product(5, 0, 1);
  check_product(0, 0, 0);
}

TEST(gemm_of_views_within_larger_arrays) {
  const std::size_t count = 6, rows = 7, depth = 19, stride = 25;
  const Floats weight = normal(rows * stride, 3), x = normal(count * stride, 4);
  Floats y(count * stride, 1);
  gemm_kernels().multiply(x.data(), stride, count, weight.data(), stride, rows, depth, y.data(), stride);
  gemm_kernels().add(x.data(), stride, count, weight.data(), stride, rows, depth, y.data(), stride);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t r = 0; r < stride; ++r) {
      double sum = 0;
      for (std::size_t c = 0; r < rows && c < depth; ++c) {
        sum += static_cast<double>(weight[r * stride + c]) * static_cast<double>(x[i * stride + c]);
      }
      CHECK_NEAR(static_cast<double>(y[i * stride + r]), r < rows ? 2 * sum : 1, 1e-4);  // nothing beyond is written
    }
  }
}

TEST(dense_products_with_what_is_not_finite) {
  const std::size_t rows = 9, cols = 21, count = 5;
  const Floats weight = normal(rows * cols, 5);
  Floats x = normal(count * cols, 6);
  x[2 * cols + 20] = std::numeric_limits<float>::infinity();
  x[4 * cols] = std::nanf("");
  const DenseMatrix matrix(weight.data(), rows, cols);
  const Floats y = product_of(matrix, x, count);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t r = 0; r < rows; ++r) CHECK(std::isfinite(y[i * rows + r]) == (i != 2 && i != 4));
  }
}

TEST(dense_weight_of_another_type_or_rank_is_refused) {
  const Floats weight(6);
  CHECK_REFUSED(DenseMatrix::make(Tensor{}), "missing");
  CHECK_REFUSED(DenseMatrix::make(tensor(Type::f16, {2, 3}, weight.data())), "element type");
  CHECK_REFUSED(DenseMatrix::make(tensor(Type::f32, {6}, weight.data())), "dimensions");
}

}  // namespace dtc::testing
