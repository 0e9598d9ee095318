#include <cstdint>
#include <cstring>

#include "kernels/cells_isa.h"

namespace dtc::kernels {
namespace {

using Vec = float;
constexpr std::size_t kLanes = 1;

Vec load(const float* p) { return *p; }
void store(float* p, Vec v) { *p = v; }
Vec set(float x) { return x; }
Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
Vec min(Vec a, Vec b) { return a < b ? a : b; }
Vec max(Vec a, Vec b) { return a > b ? a : b; }

Vec power_of_two(Vec shifted) {
  std::uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return scale;
}

#include "kernels/cells_impl.h"

}  // namespace

const Cells cells_scalar = {lstm, gru_reset, gru_update, each_sigmoid, each_tanh};

}  // namespace dtc::kernels
