// The product of two float matrices, both with the reduction dimension last.
#ifndef DTC_KERNELS_GEMM_H_
#define DTC_KERNELS_GEMM_H_

#include <cstddef>

namespace dtc {

/// y[i * y_stride + r] from x [count, depth] and w [rows, depth], for i below count and r below rows.
///
/// Strides are in floats and at least `depth` (for y: `rows`); nothing needs an alignment. y overlaps neither x nor w.
/// On one thread: the caller divides the rows. At count 1 it goes at the speed at which memory gives w; from about 8 on
/// at that of the multipliers. Any of the sizes may be 0; depth 0 gives zeros.
using Gemm = void (*)(const float* x, std::size_t x_stride, std::size_t count, const float* w, std::size_t w_stride,
                      std::size_t rows, std::size_t depth, float* y, std::size_t y_stride);

struct GemmKernels {
  Gemm multiply;  ///< y = x w^T
  Gemm add;       ///< y += x w^T
};

/// The best of this processor, chosen once.
const GemmKernels& gemm_kernels();

}  // namespace dtc

#endif  // DTC_KERNELS_GEMM_H_
