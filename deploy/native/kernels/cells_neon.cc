#include <arm_neon.h>

#include "kernels/cells_isa.h"

namespace dtc::kernels {
namespace {

struct Vec {
  float32x4_t v;
};
constexpr std::size_t kLanes = 4;

Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
Vec load(const float* p) { return {vld1q_f32(p)}; }
void store(float* p, Vec v) { vst1q_f32(p, v.v); }
Vec set(float x) { return {vdupq_n_f32(x)}; }
Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
Vec min(Vec a, Vec b) { return {vminq_f32(a.v, b.v)}; }
Vec max(Vec a, Vec b) { return {vmaxq_f32(a.v, b.v)}; }

Vec power_of_two(Vec shifted) {
  const int32x4_t n = vaddq_s32(vreinterpretq_s32_f32(shifted.v), vdupq_n_s32(127));
  return {vreinterpretq_f32_s32(vshlq_n_s32(n, 23))};
}

#include "kernels/cells_impl.h"

}  // namespace

const Cells cells_neon = {lstm, gru_reset, gru_update, each_sigmoid, each_tanh};

}  // namespace dtc::kernels
