#include "kernels/gemm.h"

#include "kernels/isa.h"

namespace dtc {

extern const GemmKernels gemm_scalar;
#if defined(DTC_HAVE_AVX2)
extern const GemmKernels gemm_avx2, gemm_avx512;
#endif
#if defined(DTC_HAVE_NEON)
extern const GemmKernels gemm_neon;
#endif

namespace {

const GemmKernels& choose() {
  switch (best_isa()) {
#if defined(DTC_HAVE_AVX2)
    case Isa::avx2:
      return has_avx512() ? gemm_avx512 : gemm_avx2;
#endif
#if defined(DTC_HAVE_NEON)
    case Isa::neon:
      return gemm_neon;
#endif
    default:
      return gemm_scalar;
  }
}

}  // namespace

const GemmKernels& gemm_kernels() {
  static const GemmKernels& chosen = choose();
  return chosen;
}

}  // namespace dtc
