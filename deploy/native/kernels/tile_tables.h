// The kernels that there are, for `tile_kernel` to choose from.
#ifndef DTC_KERNELS_TILE_TABLES_H_
#define DTC_KERNELS_TILE_TABLES_H_

#include "kernels/tiles.h"

namespace dtc {

extern const TileKernel kTilesModel;
#if defined(DTC_HAVE_AVX2)
extern const TileKernel kTilesVnni, kTilesVnniHalved;  ///< the latter where `halves_avx512`
#endif
#if defined(DTC_HAVE_AMX)
extern const TileKernel kTilesAmx;
#endif

#if defined(DTC_HAVE_NEON)
extern const TileKernel kTilesNeonDot;
#endif

}  // namespace dtc

#endif  // DTC_KERNELS_TILE_TABLES_H_
