#include "kernels/half.h"

#include <cmath>
#include <limits>

namespace dtc {

float float_of_half(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  float value;
  if (exponent == 31) {
    value = fraction == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  } else {
    value =
        std::ldexp(static_cast<float>(exponent == 0 ? fraction : fraction + 1024), exponent == 0 ? -24 : exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

}  // namespace dtc
