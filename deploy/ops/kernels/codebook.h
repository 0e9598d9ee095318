// Products with rows of indices into a table of codewords, and their decoding.
#ifndef DTC_KERNELS_CODEBOOK_H_
#define DTC_KERNELS_CODEBOOK_H_

#include <cstddef>
#include <cstdint>

namespace dtc {

/// Rows of indices of 1, 2, 4 or 8 bits, least significant bits of a byte first, and what they mean.
struct Codebook {
  const std::uint8_t* codes;
  std::size_t row_bytes;
  unsigned bits;
  const float* words;  ///< [2^bits, stride]: whatever an index is, it is within; beyond `block` there are zeros
  std::size_t block;   ///< floats of a codeword
  std::size_t stride;  ///< 1, 2, 4 or a multiple of 8; at least `block`
};

/// The most rows of x that a kernel takes at once.
constexpr std::size_t codebook_counts = 4;

/// y[i * y_stride + r] for `count` rows of x (1 to codebook_counts) and `rows` rows of indices from codebook.codes on.
///
/// A row of x has `x_stride` floats, readable and zero from the columns on: as many as all the bits of a row of indices
/// stand for, and `stride` more.
using CodebookMultiply = void (*)(const Codebook& codebook, std::size_t rows, const float* x, std::size_t x_stride,
                                  std::size_t count, float* y, std::size_t y_stride);

struct CodebookKernels {
  /// out [floats] = the codewords of one row of indices from `codes` on, from index `first` on; the last may be cut.
  void (*decode)(const Codebook& codebook, const std::uint8_t* codes, std::size_t first, std::size_t floats,
                 float* out);
  CodebookMultiply multiply;         ///< codewords of any length, read from the table
  CodebookMultiply multiply_scalar;  ///< codewords of one float (block 1, bits 1, 2 or 4), held in registers; or null
};

/// The best of this processor, chosen once.
const CodebookKernels& codebook_kernels();

}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_H_
