#include "kernels/codebook_nibbles.h"

#include "kernels/codebook_nibbles_tables.h"
#include "kernels/isa.h"

namespace dtc {

const CodebookNibblesKernel* codebook_nibbles_kernel() {
  if (models_tiles()) return &kCodebookNibblesScalar;
#if defined(DTC_HAVE_AVX2)
  if (has_avx512_vnni()) return &kCodebookNibblesAvx512;
#endif
  return nullptr;
}

}  // namespace dtc
