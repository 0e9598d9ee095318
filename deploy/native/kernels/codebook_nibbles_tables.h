// The kernels that there are, for `codebook_nibbles_kernel` to choose from.
#ifndef DTC_KERNELS_CODEBOOK_NIBBLES_TABLES_H_
#define DTC_KERNELS_CODEBOOK_NIBBLES_TABLES_H_

#include "kernels/codebook_nibbles.h"

namespace dtc {

extern const CodebookNibblesKernel kCodebookNibblesScalar;
#if defined(DTC_HAVE_AVX2)
extern const CodebookNibblesKernel kCodebookNibblesAvx512;
#endif

/// Which of three sums the products of digits belong to: each counts kTileBase times the next.
constexpr int nibbles_sum(int word_digit, int x_digit) { return word_digit + x_digit; }

/// The number that the sums stand for.
inline float nibbles_number(const std::int32_t* sums, const ByteWords& words, const NibbleColumn& x) {
  float number = static_cast<float>(sums[0]);
  for (int kind = 1; kind < words.digits + x.digits - 1; ++kind) {
    number = number * static_cast<float>(kTileBase) + static_cast<float>(sums[kind]);
  }
  return number * words.unit * x.unit;
}

}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_NIBBLES_TABLES_H_
