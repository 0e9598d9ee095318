#include "kernels/gemm.h"

namespace dtc {
namespace {

struct Vector {
  using Type = float;
  static constexpr std::size_t lanes = 1, tile_x = 2, tile_w = 4;

  static Type zero() { return 0; }
  static Type load(const float* from) { return *from; }
  static Type load_part(const float* from, std::size_t) { return *from; }
  static Type multiply_add(Type a, Type b, Type sum) { return sum + a * b; }
  static void sums_of(Type a, Type b, Type c, Type d, float* out) {
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
  }
};

}  // namespace
}  // namespace dtc

#include "kernels/gemm_impl.h"

namespace dtc {

extern const GemmKernels gemm_scalar;
const GemmKernels gemm_scalar = kernels;

}  // namespace dtc
