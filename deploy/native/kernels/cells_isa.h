// The tables of each instruction set; `cells()` chooses.
#ifndef DTC_KERNELS_CELLS_ISA_H_
#define DTC_KERNELS_CELLS_ISA_H_

#include "kernels/cells.h"

namespace dtc::kernels {

extern const Cells cells_scalar, cells_avx2, cells_avx512, cells_neon;

}  // namespace dtc::kernels

#endif  // DTC_KERNELS_CELLS_ISA_H_
