// How large numbers are, for a choice of how many bits they need.
#ifndef DTC_KERNELS_MAGNITUDES_H_
#define DTC_KERNELS_MAGNITUDES_H_

#include <cstddef>

namespace dtc {

/// The largest magnitude of x [count], and the sum of squares.
void measure_magnitudes(const float* x, std::size_t count, float* largest, float* squares);

}  // namespace dtc

#endif  // DTC_KERNELS_MAGNITUDES_H_
