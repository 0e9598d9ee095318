#include "kernels/magnitudes.h"

namespace dtc {

void measure_magnitudes(const float* x, std::size_t count, float* largest, float* squares) {
  // In lanes, of which compilers make vectors: one sum after another would wait for the one before.
  constexpr std::size_t lanes = 16;
  float most[lanes] = {}, sums[lanes] = {};
  for (std::size_t i = 0; i + lanes <= count; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const float size = __builtin_fabsf(x[i + lane]);
      most[lane] = size > most[lane] ? size : most[lane];
      sums[lane] += size * size;
    }
  }
  for (std::size_t i = count / lanes * lanes; i < count; ++i) {
    const float size = __builtin_fabsf(x[i]);
    most[0] = size > most[0] ? size : most[0];
    sums[0] += size * size;
  }
  *largest = *squares = 0.0F;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    *largest = most[lane] > *largest ? most[lane] : *largest;
    *squares += sums[lane];
  }
}

}  // namespace dtc
