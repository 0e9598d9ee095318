// Sparse matrices for the tests, in every way of storing them, and what their products are.
#ifndef DTC_TESTS_SPARSE_EXAMPLE_H_
#define DTC_TESTS_SPARSE_EXAMPLE_H_

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "forms/inputs.h"
#include "forms/matrix.h"
#include "tests/check.h"

namespace dtc::testing {

/// A tensor over an array that the test keeps.
template <typename T>
Tensor tensor(Type type, std::vector<std::int64_t> shape, const std::vector<T>& data) {
  return {type, std::move(shape), data.data(), data.size()};
}

/// A half that is exactly k / 64, for |k| < 1024.
inline std::uint16_t half_of_64ths(int k) {
  const unsigned sign = k < 0 ? 0x8000 : 0;
  unsigned mantissa = static_cast<unsigned>(std::abs(k));
  if (mantissa == 0) return 0;
  unsigned exponent = 15 - 6 + 10;
  while (mantissa < 1024) {
    mantissa <<= 1;
    --exponent;
  }
  return static_cast<std::uint16_t>(sign | exponent << 10 | (mantissa & 1023));
}

/// A sparse weight [rows, cols] whose values are multiples of 1/64, in all forms.
struct SparseExample {
  std::size_t rows, cols;
  std::vector<float> dense;
  std::vector<float> values;
  std::vector<std::uint16_t> halves;
  std::vector<std::uint8_t> columns8, bitmap;
  std::vector<std::uint16_t> columns16;
  std::vector<std::uint32_t> columns32, pointers;

  /// `density(row)` of each row's places are taken.
  template <typename Density>
  SparseExample(std::size_t rows_, std::size_t cols_, const Density& density, unsigned seed = 1)
      : rows(rows_), cols(cols_), dense(rows_ * cols_), bitmap(rows_ * ((cols_ + 7) / 8)), pointers{0} {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform;
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t col = 0; col < cols; ++col) {
        if (uniform(random) >= density(row)) continue;
        const int k = static_cast<int>(random() % 2000) - 1000;
        put(row, col, k);
      }
      pointers.push_back(static_cast<std::uint32_t>(values.size()));
    }
  }

  Tensor value_tensor(bool half) const {
    const auto count = static_cast<std::int64_t>(values.size());
    return half ? tensor(Type::f16, {count}, halves) : tensor(Type::f32, {count}, values);
  }
  Tensor column_tensor(Type type) const {
    const auto count = static_cast<std::int64_t>(values.size());
    if (type == Type::u8) return tensor(type, {count}, columns8);
    if (type == Type::u16) return tensor(type, {count}, columns16);
    return tensor(type, {count}, columns32);
  }
  Tensor pointer_tensor() const { return tensor(Type::u32, {static_cast<std::int64_t>(rows + 1)}, pointers); }
  Tensor bitmap_tensor() const {
    return tensor(Type::u8, {static_cast<std::int64_t>(rows), static_cast<std::int64_t>((cols + 7) / 8)}, bitmap);
  }
  std::int64_t cols_attribute() const { return static_cast<std::int64_t>(cols); }

 private:
  void put(std::size_t row, std::size_t col, int k) {
    const auto value = static_cast<float>(k) / 64;
    dense[row * cols + col] = value;
    values.push_back(value);
    halves.push_back(half_of_64ths(k));
    columns8.push_back(static_cast<std::uint8_t>(col));
    columns16.push_back(static_cast<std::uint16_t>(col));
    columns32.push_back(static_cast<std::uint32_t>(col));
    bitmap[row * ((cols + 7) / 8) + col / 8] |= static_cast<std::uint8_t>(1u << col % 8);
  }
};

inline std::vector<float> random_floats(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> floats(count);
  for (float& f : floats) f = normal(random);
  return floats;
}

/// Checks matrix.multiply for x [count, cols] against a product in double; the error of a sum of n floats is below
/// n * 2^-24 times the sum of magnitudes, and pairwise summation keeps it far below.
inline void check_product(const Matrix& matrix, const std::vector<float>& dense, std::size_t count,
                          const Parallel& parallel = {}) {
  const std::vector<float> x = random_floats(count * matrix.cols(), 7);
  std::vector<float> y(count * matrix.rows() + 1, 99.0f);
  matrix.multiply(x.data(), count, y.data(), parallel);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t row = 0; row < matrix.rows(); ++row) {
      double sum = 0, magnitude = 0;
      for (std::size_t col = 0; col < matrix.cols(); ++col) {
        const double product = static_cast<double>(dense[row * matrix.cols() + col]) * x[i * matrix.cols() + col];
        sum += product;
        magnitude += std::fabs(product);
      }
      const double error = std::fabs(static_cast<double>(y[i * matrix.rows() + row]) - sum);
      if (!(error <= 2e-6 * magnitude)) ++wrong;
    }
  }
  CHECK(wrong == 0);
  CHECK(y.back() == 99.0f);  // nothing is written behind the end
}

/// Checks that every row decodes to exactly its values.
inline void check_rows(const Rows& table, const std::vector<float>& dense) {
  std::vector<float> out(table.cols() + 1, 99.0f);
  for (std::size_t row = 0; row < table.rows(); ++row) {
    table.decode(row, out.data());
    std::size_t wrong = 0;
    for (std::size_t col = 0; col < table.cols(); ++col) wrong += out[col] != dense[row * table.cols() + col];
    CHECK(wrong == 0);
  }
  CHECK(out.back() == 99.0f);
}

/// x with an infinity and a NaN in two columns: rows that use them are not finite in those columns of the batch, and
/// everything else is as it would be.
inline void check_not_finite(const Matrix& matrix, const std::vector<float>& dense, std::size_t count) {
  const std::size_t cols = matrix.cols(), rows = matrix.rows(), at = cols / 2, bad = count / 2;
  std::vector<float> x = random_floats(count * cols, 8), good(count * rows), y(count * rows);
  matrix.multiply(x.data(), count, good.data(), {});
  x[bad * cols + at] = HUGE_VALF;
  x[bad * cols] = std::nanf("");
  matrix.multiply(x.data(), count, y.data(), {});
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t row = 0; row < rows; ++row) {
      const bool hit = i == bad && (dense[row * cols + at] != 0 || dense[row * cols] != 0);
      wrong += hit ? std::isfinite(y[i * rows + row]) : y[i * rows + row] != good[i * rows + row];
    }
  }
  CHECK(wrong == 0);
}

/// A pool that runs its pieces last to first, as if on other threads.
inline Parallel reversed() {
  return Parallel(
      [](void*, Parallel::Task task, std::size_t pieces, void* data) {
        while (pieces-- > 0) task(data, pieces);
      },
      nullptr);
}

}  // namespace dtc::testing

#endif  // DTC_TESTS_SPARSE_EXAMPLE_H_
