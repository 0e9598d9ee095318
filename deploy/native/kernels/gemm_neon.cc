#include <arm_neon.h>

#include "kernels/gemm.h"

namespace dtc {
namespace {

struct Vector {
  using Type = float32x4_t;
  static constexpr std::size_t lanes = 4, tile_x = 5, tile_w = 4;  // 20 sums, 4 of w and 1 of x in 32 registers

  static Type zero() { return vdupq_n_f32(0); }
  static Type load(const float* from) { return vld1q_f32(from); }
  static Type load_part(const float* from, std::size_t count) {
    float four[4] = {0, 0, 0, 0};
    for (std::size_t i = 0; i < count; ++i) four[i] = from[i];
    return vld1q_f32(four);
  }
  static Type multiply_add(Type a, Type b, Type sum) { return vfmaq_f32(sum, a, b); }

  /// out[i] = the sum of the lanes of the i-th argument.
  static void sums_of(Type a, Type b, Type c, Type d, float* out) {
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
  }
};

}  // namespace
}  // namespace dtc

#include "kernels/gemm_impl.h"

namespace dtc {

extern const GemmKernels gemm_neon;
const GemmKernels gemm_neon = kernels;

}  // namespace dtc
