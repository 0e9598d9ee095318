// A weight whose rows are sequences of codewords.
#ifndef DTC_FORMS_CODEBOOK_MATRIX_H_
#define DTC_FORMS_CODEBOOK_MATRIX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "forms/codebook_bytes.h"
#include "forms/inputs.h"
#include "forms/matrix.h"
#include "kernels/codebook.h"

namespace dtc {

/// The inputs of the operators on codebooks, checked, and the tables that the kernels look codewords up in.
class CodebookWeight {
 public:
  /// From indices uint8 [rows, bytes], packed from the least significant bits on, each row from a whole byte on;
  /// float32 codewords [count, block]; the bits of an index, 1, 2, 4 or 8; and the columns. An index of `count` or more
  /// means the last codeword. The indices are read in place. Throws Error for what does not fit together.
  CodebookWeight(const Tensor& indices, const Tensor& codewords, std::int64_t bits, std::int64_t columns);

  CodebookWeight(CodebookWeight&&) = default;

  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }

  /// What the kernel reads.
  const Codebook& codebook() const { return codebook_; }

  /// The kernel for these codewords.
  const CodebookKernel& kernel() const { return *kernel_; }

 private:
  std::size_t rows_, cols_;
  std::vector<float> words_;
  Codebook codebook_{};
  const CodebookKernel* kernel_;
};

class CodebookMatrix final : public Matrix {
 public:
  /// Of the same inputs as CodebookWeight; accuracy_level: 0 float arithmetic, 1 sums and numbers of 16 bits, 4 of 8
  /// bits, or better.
  static std::unique_ptr<Matrix> make(const Tensor& indices, const Tensor& codewords, std::int64_t bits,
                                      std::int64_t columns, std::int64_t accuracy_level = 0);

  CodebookMatrix(CodebookWeight weight, int accuracy_level);

  void multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const override;

 private:
  void multiply_few(const float* x, std::size_t count, float* y, const Parallel& parallel) const;
  void multiply_many(const float* x, std::size_t count, float* y, const Parallel& parallel) const;

  CodebookWeight weight_;
  std::size_t few_;
  CodebookBytes bytes_;
};

class CodebookRows final : public Rows {
 public:
  /// Of the same inputs as CodebookWeight.
  static std::unique_ptr<Rows> make(const Tensor& indices, const Tensor& codewords, std::int64_t bits,
                                    std::int64_t columns);

  explicit CodebookRows(CodebookWeight weight);

  void decode(std::size_t row, float* out) const override;

 private:
  CodebookWeight weight_;
};

}  // namespace dtc

#endif  // DTC_FORMS_CODEBOOK_MATRIX_H_
