#include <arm_neon.h>

#include <cstddef>

namespace dtc {
namespace {

struct One {
  using Type = float;
  static constexpr std::size_t lanes = 1;
  static Type zero() { return 0; }
  static Type load(const float* from) { return *from; }
  static void store(float* to, Type a) { *to = a; }
  static Type multiply_add(Type a, Type b, Type sum) { return sum + a * b; }
  static float sum(Type a) { return a; }
};

struct Two {
  using Type = float32x2_t;
  static constexpr std::size_t lanes = 2;
  static Type zero() { return vdup_n_f32(0); }
  static Type load(const float* from) { return vld1_f32(from); }
  static void store(float* to, Type a) { vst1_f32(to, a); }
  static Type multiply_add(Type a, Type b, Type sum) { return vfma_f32(sum, a, b); }
  static float sum(Type a) { return vaddv_f32(a); }
};

struct Four {
  using Type = float32x4_t;
  static constexpr std::size_t lanes = 4;
  static Type zero() { return vdupq_n_f32(0); }
  static Type load(const float* from) { return vld1q_f32(from); }
  static void store(float* to, Type a) { vst1q_f32(to, a); }
  static Type multiply_add(Type a, Type b, Type sum) { return vfmaq_f32(sum, a, b); }
  static float sum(Type a) { return vaddvq_f32(a); }
};

using Many = Four;

}  // namespace
}  // namespace dtc

#include "kernels/codebook_impl.h"

namespace dtc {

extern const CodebookKernels codebook_neon;
const CodebookKernels codebook_neon = {{codebook_decode, codebook_multiply}, {nullptr, nullptr}};

}  // namespace dtc
