// The kernels that there are, for `codebook_tile_kernel` to choose from.
#ifndef DTC_KERNELS_CODEBOOK_TILES_TABLES_H_
#define DTC_KERNELS_CODEBOOK_TILES_TABLES_H_

#include "kernels/codebook_tiles.h"

namespace dtc {

extern const CodebookTileKernel kCodebookTilesModel;
#if defined(DTC_HAVE_AVX2)
extern const CodebookTileKernel kCodebookTilesVnni;
#endif
#if defined(DTC_HAVE_AMX)
extern const CodebookTileKernel kCodebookTilesAmx;
#endif

}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_TILES_TABLES_H_
