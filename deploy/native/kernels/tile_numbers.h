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

/// `TileKernel::build`.
inline void build_plainly(const float* x, std::size_t inputs, const TileSpan* spans, std::size_t span_count, int digits,
                          std::size_t column, std::size_t lower, const TileColumns& out) {
  for (std::size_t s = 0; s < span_count; ++s) {
    const TileSpan& span = spans[s];
    const std::size_t first = 8 * span.begin, count = (8 * span.end < inputs ? 8 * span.end : inputs) - first;
    float most, sum;
    measure_plainly(x + first, count, &most, &sum);
    const TileScale scale = tile_scale(most, sum, digits);
    std::int32_t totals[2] = {0, 0};
    for (std::size_t i = 0; i < span.tiles() * kTileDepth; ++i) {
      const bool there = i < count && scale.inverse != 0.0F;
      const TileNumber number = tile_number(there ? x[first + i] * scale.inverse : 0.0F, digits);
      const std::int8_t by_column[2] = {number.upper, number.lower};
      for (int d = 0; d < digits; ++d) {
        totals[d] += by_column[d];
        const std::size_t at = span.tile + i / kTileDepth;
        out.line(at, d == 0 ? column : lower)[tile_place(i % kTileDepth)] = by_column[d];
      }
    }
    put_factors(out, s, column, lower, digits, scale, sum, totals);
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILE_NUMBERS_H_
