// The sparse kernels in NEON.
#include <arm_neon.h>

#include "kernels/csr.h"

namespace dtc {
namespace {

#define DTC_CSR_INLINE inline __attribute__((always_inline))

using Half = __fp16;

constexpr std::size_t kAhead = 256;  // values and columns to prefetch; not tuned

// Always inline: GCC leaves out calls of functions that do nothing but prefetch.
DTC_CSR_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }

struct Lanes;

// Four values, each to be had in all lanes.
struct Four {
  using Wide = Lanes;
  float32x4_t v;

  static Four values(const float* p) { return {vld1q_f32(p)}; }
  static Four values(const Half* p) { return {vcvt_f32_f16(vld1_f16(p))}; }
  template <int i>
  Wide all() const;
};

struct Lanes {
  static constexpr std::size_t size = 8;
  float32x4_t low, high;

  static Lanes zero() { return {vdupq_n_f32(0), vdupq_n_f32(0)}; }
  static Lanes load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static Lanes lowest(float f) { return {vsetq_lane_f32(f, vdupq_n_f32(0), 0), vdupq_n_f32(0)}; }
  template <typename Value>
  static Lanes all(const Value* p) {
    const float32x4_t v = vdupq_n_f32(static_cast<float>(*p));
    return {v, v};
  }
  template <typename Value>
  static Lanes values(const Value* p) {
    return {Four::values(p).v, Four::values(p + 4).v};
  }
  template <typename Column>
  static Lanes gather(const float* x, const Column* columns);

  void store(float* p) const {
    vst1q_f32(p, low);
    vst1q_f32(p + 4, high);
  }
  // The first n of them, and zeros for the rest, were they infinite.
  Lanes first(std::size_t n) const {
    static const std::uint32_t masks[16] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    const std::uint32_t* const mask = masks + kCsrLanes - n;
    const uint32x4_t l = vandq_u32(vreinterpretq_u32_f32(low), vld1q_u32(mask));
    const uint32x4_t h = vandq_u32(vreinterpretq_u32_f32(high), vld1q_u32(mask + 4));
    return {vreinterpretq_f32_u32(l), vreinterpretq_f32_u32(h)};
  }
  float sum() const { return vaddvq_f32(vaddq_f32(low, high)); }
};

template <int i>
Lanes Four::all() const {
  const float32x4_t lane = vdupq_laneq_f32(v, i);
  return {lane, lane};
}

Lanes fma(Lanes a, Lanes b, Lanes c) { return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)}; }
Lanes mul(Lanes a, Lanes b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
Lanes add(Lanes a, Lanes b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
template <typename Value>
float single(Value value) {
  return static_cast<float>(value);
}

template <typename Column>
float32x4_t gather4(const float* x, const Column* columns) {
  float32x4_t v = vld1q_dup_f32(x + columns[0]);
  v = vld1q_lane_f32(x + columns[1], v, 1);
  v = vld1q_lane_f32(x + columns[2], v, 2);
  return vld1q_lane_f32(x + columns[3], v, 3);
}

template <typename Column>
Lanes Lanes::gather(const float* x, const Column* columns) {
  return {gather4(x, columns), gather4(x, columns + 4)};
}

void widen16(const std::uint8_t* from, std::size_t base, std::uint16_t* to) {
  const uint8x16_t bytes = vld1q_u8(from);
  const uint16x8_t bases = vdupq_n_u16(static_cast<std::uint16_t>(base));
  vst1q_u16(to, vaddw_u8(bases, vget_low_u8(bytes)));
  vst1q_u16(to + 8, vaddw_u8(bases, vget_high_u8(bytes)));
}

void widen16(const std::uint8_t* from, std::size_t base, std::uint32_t* to) {
  for (std::size_t i = 0; i < 16; ++i) to[i] = static_cast<std::uint32_t>(base + from[i]);
}

void transpose4(const float* const* from, std::size_t at, float* to, std::size_t stride) {
  const float32x4x2_t a = vtrnq_f32(vld1q_f32(from[0] + at), vld1q_f32(from[1] + at));
  const float32x4x2_t b = vtrnq_f32(vld1q_f32(from[2] + at), vld1q_f32(from[3] + at));
  for (int i = 0; i < 2; ++i) {
    vst1q_f32(to + static_cast<std::size_t>(i) * stride, vcombine_f32(vget_low_f32(a.val[i]), vget_low_f32(b.val[i])));
    vst1q_f32(to + static_cast<std::size_t>(i + 2) * stride,
              vcombine_f32(vget_high_f32(a.val[i]), vget_high_f32(b.val[i])));
  }
}

void transpose(const float* const* from, std::size_t count, float* to, std::size_t stride) {
  std::size_t c = 0;
  for (; c + 4 <= count; c += 4) {
    transpose4(from, c, to + c * stride, stride);
    transpose4(from + 4, c, to + c * stride + 4, stride);
  }
  for (; c < count; ++c)
    for (std::size_t j = 0; j < kCsrLanes; ++j) to[c * stride + j] = from[j][c];
}

template <std::size_t vectors>
using FourOf = Four;

#include "kernels/csr_impl.h"

}  // namespace

const CsrKernels csr_kernels_neon[kCsrValues][kCsrColumns] = {DTC_CSR_KERNELS(float), DTC_CSR_KERNELS(Half)};

}  // namespace dtc
