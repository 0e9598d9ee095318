#include "kernels/tiles.h"

#include "kernels/isa.h"
#include "kernels/tile_tables.h"

namespace dtc {

const TileKernel* tile_kernel() {
  if (models_tiles()) return &kTilesModel;
#if defined(DTC_HAVE_AMX)
  if (has_amx()) return &kTilesAmx;
#endif
#if defined(DTC_HAVE_AVX2)
  if (has_avx512_vnni()) return halves_avx512() ? &kTilesVnniHalved : &kTilesVnni;
#endif
#if defined(DTC_HAVE_NEON)
  if (has_neon_dot()) return &kTilesNeonDot;
#endif
  return nullptr;
}

}  // namespace dtc
