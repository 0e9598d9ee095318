#include "kernels/codebook.h"

#include "kernels/isa.h"

namespace dtc {

extern const CodebookKernels codebook_scalar;
#if defined(DTC_HAVE_AVX2)
extern const CodebookKernels codebook_avx2, codebook_avx512;
#endif
#if defined(DTC_HAVE_NEON)
extern const CodebookKernels codebook_neon;
#endif

namespace {

const CodebookKernels& choose() {
  switch (best_isa()) {
#if defined(DTC_HAVE_AVX2)
    case Isa::avx2:
      return has_avx512() ? codebook_avx512 : codebook_avx2;
#endif
#if defined(DTC_HAVE_NEON)
    case Isa::neon:
      return codebook_neon;
#endif
    default:
      return codebook_scalar;
  }
}

}  // namespace

const CodebookKernels& codebook_kernels() {
  static const CodebookKernels& chosen = choose();
  return chosen;
}

}  // namespace dtc
