#include "kernels/lut.h"

#include "kernels/isa.h"
#include "kernels/lut_tables.h"

namespace dtc {

const LutKernel& lut_kernel(int accuracy_level) {
#if defined(DTC_HAVE_AVX2)
  if (has_avx512() && accuracy_level == 0) return kLut32Avx512;
  if (has_avx512_vnni() && accuracy_level != 0) return accuracy_level == 4 ? kLut8Avx512 : kLut16Avx512;
  if (best_isa() == Isa::avx2) {
    return accuracy_level == 4 ? kLut8Avx2 : accuracy_level == 1 ? kLut16Avx2 : kLut32Avx2;
  }
#endif
#if defined(DTC_HAVE_NEON)
  if (best_isa() == Isa::neon) {
    return accuracy_level == 4 ? kLut8Neon : accuracy_level == 1 ? kLut16Neon : kLut32Neon;
  }
#endif
  static_cast<void>(accuracy_level);
  return kLut32Scalar;
}

}  // namespace dtc
