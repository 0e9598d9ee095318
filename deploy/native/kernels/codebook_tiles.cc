#include "kernels/codebook_tiles.h"

#include "kernels/codebook_tiles_tables.h"
#include "kernels/isa.h"

namespace dtc {

const CodebookTileKernel* codebook_tile_kernel() {
  if (models_tiles()) return &kCodebookTilesModel;
#if defined(DTC_HAVE_AMX)
  if (has_amx()) return &kCodebookTilesAmx;
#endif
#if defined(DTC_HAVE_AVX2)
  if (has_avx512_vnni()) return &kCodebookTilesVnni;
#endif
  return nullptr;
}

}  // namespace dtc
