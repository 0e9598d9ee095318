// A weight in a compressed form: what every operator computes with.
#ifndef DTC_FORMS_MATRIX_H_
#define DTC_FORMS_MATRIX_H_

#include <cstddef>

#include "forms/parallel.h"

namespace dtc {

/// A weight [rows, cols], the reduction dimension last. It refers to the arrays that it was made of, which outlive it,
/// and adds to them only what is small beside them: a session holds its weights once.
///
/// Every method is const and may run on several threads at once.
class Matrix {
 public:
  Matrix(std::size_t rows, std::size_t cols) : rows_(rows), cols_(cols) {}
  virtual ~Matrix() = default;
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }

  /// y[i * rows + r] = sum over c of W[r, c] * x[i * cols + c], for i below `count`.
  ///
  /// x is [count, cols], y is [count, rows]; neither needs an alignment, and they do not overlap. What is not finite in
  /// x makes what depends on it in y not finite, and does no other harm.
  virtual void multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const = 0;

 private:
  std::size_t rows_, cols_;
};

/// A weight whose rows can be had one by one, for an embedding table or for a node that wants floats.
class Rows {
 public:
  Rows(std::size_t rows, std::size_t cols) : rows_(rows), cols_(cols) {}
  virtual ~Rows() = default;
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }

  /// Write row `row` to out [cols].
  virtual void decode(std::size_t row, float* out) const = 0;

 private:
  std::size_t rows_, cols_;
};

}  // namespace dtc

#endif  // DTC_FORMS_MATRIX_H_
