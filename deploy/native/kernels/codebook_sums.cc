#include "kernels/codebook_sums.h"

#include "kernels/codebook_sums_tables.h"
#include "kernels/isa.h"

namespace dtc {

const CodebookSumsKernel* codebook_sums_kernel() {
  if (models_tiles()) return &kCodebookSumsScalar;
#if defined(DTC_HAVE_AVX2)
  if (has_avx512_vnni()) return &kCodebookSumsAvx512;
#endif
  return nullptr;
}

}  // namespace dtc
