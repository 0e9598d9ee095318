#include "kernels/cells_isa.h"
#include "kernels/isa.h"

namespace dtc::kernels {

const Cells& cells() {
  switch (best_isa()) {
#if defined(DTC_HAVE_AVX2)
    case Isa::avx2:
      return has_avx512() ? cells_avx512 : cells_avx2;
#endif
#if defined(DTC_HAVE_NEON)
    case Isa::neon:
      return cells_neon;
#endif
    default:
      return cells_scalar;
  }
}

}  // namespace dtc::kernels
