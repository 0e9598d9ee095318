// Random arrays, and products of floats in double precision to compare with.
#ifndef DTC_TESTS_DENSE_REFERENCE_H_
#define DTC_TESTS_DENSE_REFERENCE_H_

#include <cmath>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "forms/inputs.h"
#include "forms/matrix.h"
#include "tests/check.h"

namespace dtc::testing {

using Floats = std::vector<float>;

inline Floats normal(std::size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> distribution;
  Floats out(count);
  for (float& value : out) value = distribution(engine);
  return out;
}

inline Tensor tensor(Type type, std::vector<std::int64_t> shape, const void* data) {
  Tensor out;
  out.type = type;
  out.data = data;
  out.count = 1;
  for (const std::int64_t size : shape) out.count *= static_cast<std::size_t>(size);
  out.shape = std::move(shape);
  return out;
}

/// Checks y [count, rows] against weight [rows, cols] and x [count, cols], within what rounding makes of sums in any
/// order: 2e-6 of the sum of the products' magnitudes, and 1e-6.
inline bool is_product(const Floats& weight, const Floats& x, const Floats& y, std::size_t rows, std::size_t cols,
                       std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = 0, magnitude = 0;
      for (std::size_t c = 0; c < cols; ++c) {
        const double product = static_cast<double>(weight[r * cols + c]) * static_cast<double>(x[i * cols + c]);
        sum += product;
        magnitude += std::fabs(product);
      }
      if (!(std::fabs(static_cast<double>(y[i * rows + r]) - sum) <= 2e-6 * magnitude + 1e-6)) return false;
    }
  }
  return true;
}

/// A pool that runs the pieces one by one, last first.
inline Parallel backwards() {
  return Parallel(
      [](void*, Parallel::Task task, std::size_t pieces, void* data) {
        for (std::size_t piece = pieces; piece-- > 0;) task(data, piece);
      },
      nullptr);
}

/// What `matrix` makes of x [count, cols]; y is filled with NaN before.
inline Floats product_of(const Matrix& matrix, const Floats& x, std::size_t count) {
  Floats y(count * matrix.rows(), std::nanf(""));
  matrix.multiply(x.data(), count, y.data(), backwards());
  return y;
}

}  // namespace dtc::testing

#endif  // DTC_TESTS_DENSE_REFERENCE_H_
