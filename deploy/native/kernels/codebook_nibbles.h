// Products of one column with rows of 16 scalars, two indices a byte: looked up as bytes and multiplied as such, while
// the rows are read from begin to end.
#ifndef DTC_KERNELS_CODEBOOK_NIBBLES_H_
#define DTC_KERNELS_CODEBOOK_NIBBLES_H_

#include <cstddef>
#include <cstdint>

#include "kernels/codebook_tiles.h"

namespace dtc {

/// A column of x in bytes: for digit g, the upper first, the inputs of lower halves are at bytes + 2 g * stride, those
/// of upper halves at bytes + (2 g + 1) * stride, with zeros up to `stride`, a multiple of 64.
struct NibbleColumn {
  std::int8_t* bytes;
  std::size_t stride;
  int digits;
  float unit;              ///< the value of a unit
  std::int32_t totals[2];  ///< by digit, the sum of all bytes
};

struct CodebookNibblesKernel {
  /// Makes a column of x [inputs]; `stride` and `digits` are told, and there is memory for the bytes.
  void (*build)(const float* x, std::size_t inputs, NibbleColumn& column);
  /// y[row] = the products of all rows.
  void (*multiply)(const IndexRows& rows, const ByteWords& words, const NibbleColumn& x, float* y);
};

/// The kernel of this processor; nullptr where there is none.
const CodebookNibblesKernel* codebook_nibbles_kernel();

}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_NIBBLES_H_
