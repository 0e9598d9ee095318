#include "kernels/csr.h"

#include "kernels/isa.h"

namespace dtc {

const CsrKernels& csr_kernels(CsrValue value, CsrColumn column) {
  const auto of = [&](const CsrKernels(&table)[kCsrValues][kCsrColumns]) -> const CsrKernels& {
    return table[static_cast<int>(value)][static_cast<int>(column)];
  };
#if defined(DTC_HAVE_AVX2)
  if (has_avx512()) return of(csr_kernels_avx512);
  if (best_isa() == Isa::avx2) return of(csr_kernels_avx2);
#endif
#if defined(DTC_HAVE_NEON)
  if (best_isa() == Isa::neon) return of(csr_kernels_neon);
#endif
  return of(csr_kernels_scalar);
}

}  // namespace dtc
