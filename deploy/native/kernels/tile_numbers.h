// Numbers of x as bytes, in plain C++. Local to the files that include it.
#ifndef DTC_KERNELS_TILE_NUMBERS_H_
#define DTC_KERNELS_TILE_NUMBERS_H_

#include "kernels/tiles_driver.h"

namespace dtc {
namespace {

/// With one digit `upper` is the number.
struct TileNumber {
  std::int8_t upper, lower;
};

inline TileNumber tile_number(float value, int digits) {
  const int number = nearest(value);
  if (digits == 1) return {static_cast<std::int8_t>(number), 0};
  const int upper = nearest(static_cast<float>(number) / kTileBase);
  return {static_cast<std::int8_t>(upper), static_cast<std::int8_t>(number - upper * kTileBase)};
}

/// The largest magnitude of x, and its sum.
inline void measure_plainly(const float* x, std::size_t count, float* largest, float* sum) {
  *largest = *sum = 0.0F;
  for (std::size_t i = 0; i < count; ++i) {
    const float size = __builtin_fabsf(x[i]);
    *largest = size > *largest ? size : *largest;
    *sum += x[i];
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILE_NUMBERS_H_
