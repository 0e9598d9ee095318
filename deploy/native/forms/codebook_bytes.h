// Products with rows of codewords by what each byte of indices means, where float arithmetic is not asked for.
#ifndef DTC_FORMS_CODEBOOK_BYTES_H_
#define DTC_FORMS_CODEBOOK_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "forms/parallel.h"
#include "kernels/codebook.h"
#include "kernels/codebook_nibbles.h"
#include "kernels/codebook_sums.h"
#include "kernels/codebook_tiles.h"

namespace dtc {

class CodebookBytes {
 public:
  /// For rows of indices into a codebook, whose words are not needed afterwards. accuracy_level as BinaryMatrix::make.
  CodebookBytes(const Codebook& codebook, std::size_t rows, std::size_t cols, int accuracy_level);

  /// As Matrix::multiply, and true; false where other ways are faster, or x has outliers such that they are more exact.
  bool multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const;

 private:
  void make_words(const Codebook& codebook);
  bool make_bytes(bool halves);
  void by_sums(const float* x, std::size_t count, float* y, const Parallel& parallel) const;
  void by_nibbles(const float* x, std::size_t count, int digits, float* y, const Parallel& parallel) const;
  void by_tiles(const float* x, std::size_t count, int digits, float* y, const Parallel& parallel) const;

  IndexRows all_;
  std::size_t cols_, places_;
  bool exact_;  ///< accuracy level 1
  const CodebookSumsKernel* sums_;
  const CodebookTileKernel* tiles_;
  const CodebookNibblesKernel* nibbles_;
  std::vector<float> words_;        ///< [places, 256]
  std::vector<std::int8_t> bytes_;  ///< as ByteWords has them
  ByteWords rounded_{};
};

}  // namespace dtc

#endif  // DTC_FORMS_CODEBOOK_BYTES_H_
