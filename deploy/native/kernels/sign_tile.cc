#include "kernels/sign_tile.h"

#include "kernels/isa.h"
#include "kernels/lut_tables.h"

namespace dtc {

const SignTileKernel* sign_tile_kernel() {
#if defined(DTC_HAVE_AVX2)
  if (has_avx512()) return &kSignTileAvx512;
  if (best_isa() == Isa::avx2) return &kSignTileAvx2;
#endif
#if defined(DTC_HAVE_NEON)
  if (best_isa() == Isa::neon) return &kSignTileNeon;
#endif
  return nullptr;
}

}  // namespace dtc
