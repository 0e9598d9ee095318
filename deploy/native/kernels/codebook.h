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

/// How many floats a kernel reads of x beyond those that indices are for.
constexpr std::size_t codebook_slack = 64;

struct CodebookKernel {
  /// out [floats] = the codewords of one row of indices from `codes` on, from index `first` on, of `scalars` a multiple
  /// of 64; the last may be cut.
  void (*decode)(const Codebook& codebook, const std::uint8_t* codes, std::size_t first, std::size_t floats,
                 float* out);

  /// y[r] = the product of the r-th row of indices from codebook.codes on, for r below rows, with one row of x.
  ///
  /// x is readable and zero from the columns on: it has as many floats as all the bits of a row of indices stand for,
  /// and codebook_slack + `stride` more.
  void (*multiply)(const Codebook& codebook, std::size_t rows, const float* x, float* y);
};

struct CodebookKernels {
  CodebookKernel words;    ///< codewords of any length, from a table in memory
  CodebookKernel scalars;  ///< codewords of one float, of 2 bits or more, from registers; null where that is no better
};

/// The best of this processor, chosen once.
const CodebookKernels& codebook_kernels();

}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_H_
