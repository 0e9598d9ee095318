// The kernels that there are, for `lut_kernel` and `sign_tile_kernel` to choose from.
#ifndef DTC_KERNELS_LUT_TABLES_H_
#define DTC_KERNELS_LUT_TABLES_H_

#include "kernels/lut.h"
#include "kernels/sign_tile.h"

namespace dtc {

extern const LutKernel kLut32Scalar;
#if defined(DTC_HAVE_AVX2)
extern const LutKernel kLut8Avx2, kLut16Avx2, kLut32Avx2, kLut8Avx512, kLut16Avx512, kLut32Avx512;
extern const SignTileKernel kSignTileAvx2, kSignTileAvx512;
#endif
#if defined(DTC_HAVE_NEON)
extern const LutKernel kLut8Neon, kLut16Neon, kLut32Neon;
extern const SignTileKernel kSignTileNeon;
#endif

}  // namespace dtc

#endif  // DTC_KERNELS_LUT_TABLES_H_
