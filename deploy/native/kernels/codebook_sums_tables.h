// The kernels that there are, for `codebook_sums_kernel` to choose from.
#ifndef DTC_KERNELS_CODEBOOK_SUMS_TABLES_H_
#define DTC_KERNELS_CODEBOOK_SUMS_TABLES_H_

#include "kernels/codebook_sums.h"

namespace dtc {

extern const CodebookSumsKernel kCodebookSumsScalar;
#if defined(DTC_HAVE_AVX2)
extern const CodebookSumsKernel kCodebookSumsAvx512;
#endif

/// The scale of a run whose largest sum is `largest`: not finite where x is not, as `sum`, that of the inputs, tells.
inline float sums_scale(float largest, float sum) {
  if (!(sum - sum == 0.0F && largest - largest == 0.0F)) return __builtin_nanf("");
  return (largest > 1e-30F ? largest : 1e-30F) / static_cast<float>(kSumsZero - 1);
}

}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_SUMS_TABLES_H_
