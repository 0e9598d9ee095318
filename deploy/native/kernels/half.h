// float16 without the instructions for it.
#ifndef DTC_KERNELS_HALF_H_
#define DTC_KERNELS_HALF_H_

#include <cstdint>

namespace dtc {

/// The value of a float16, from its fields. Exact.
float float_of_half(std::uint16_t bits);

}  // namespace dtc

#endif  // DTC_KERNELS_HALF_H_
