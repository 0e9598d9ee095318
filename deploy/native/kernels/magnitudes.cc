#include "kernels/magnitudes.h"

namespace dtc {
namespace {

/// Vectors by name: of arrays of sums compilers make scalars, which take 5 times as long.
using Four = float __attribute__((vector_size(16)));

Four four_at(const float* x) {
  Four four;
  __builtin_memcpy(&four, x, sizeof four);
  return four;
}

Four sizes_of(Four four) { return four < Four{} ? -four : four; }

}  // namespace

void measure_magnitudes(const float* x, std::size_t count, float* largest, float* squares) {
  constexpr std::size_t vectors = 4;  // one sum after another would wait for the one before
  Four most[vectors] = {}, sums[vectors] = {};
  std::size_t i = 0;
  for (; i + 4 * vectors <= count; i += 4 * vectors) {
    for (std::size_t v = 0; v < vectors; ++v) {
      const Four sizes = sizes_of(four_at(x + i + 4 * v));
      most[v] = sizes > most[v] ? sizes : most[v];
      sums[v] += sizes * sizes;
    }
  }
  *largest = *squares = 0.0F;
  for (; i < count; ++i) {
    const float size = __builtin_fabsf(x[i]);
    *largest = size > *largest ? size : *largest;
    *squares += size * size;
  }
  for (std::size_t v = 0; v < vectors; ++v) {
    for (std::size_t lane = 0; lane < 4; ++lane) {
      *largest = most[v][lane] > *largest ? most[v][lane] : *largest;
      *squares += sums[v][lane];
    }
  }
}

}  // namespace dtc
