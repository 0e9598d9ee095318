// The NEON side of the lookup kernels; local to the files that include it.
#ifndef DTC_KERNELS_LUT_NEON_H_
#define DTC_KERNELS_LUT_NEON_H_

#include <arm_neon.h>

#include "kernels/lut_driver.h"

namespace dtc {
namespace {

struct Neon {
  using F = float32x4_t;
  static constexpr std::size_t lanes = 4, vectors = kLutRows / lanes;
  static F load(const float* from) { return vld1q_f32(from); }
  static F load_half(const std::uint16_t* from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
  static void prefetch(const void* from) { __builtin_prefetch(from); }
  static void store(float* to, F value) { vst1q_f32(to, value); }
  static F set(float value) { return vdupq_n_f32(value); }
  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }

  /// The sum of the inputs of byte positions [begin, end), and the largest entry that their tables have.
  static void measure(const float* x, std::size_t begin, std::size_t end, float* sum, float* largest) {
    F sums = set(0.0F), most = set(0.0F);
    for (std::size_t b = begin; b < end; ++b) {
      const F low = load(x + 8 * b), high = load(x + 8 * b + 4);
      sums = add(sums, add(low, high));
      const F pairs = vpaddq_f32(vabsq_f32(low), vabsq_f32(high));
      most = vmaxq_f32(most, vpaddq_f32(pairs, pairs));
    }
    *sum = vaddvq_f32(sums);
    *largest = vmaxvq_f32(most);
  }
};

/// Sums of unsigned bytes, each less 128, of 32 rows.
struct ByteSums {
  uint16x8_t rows[4];

  /// Nothing yet of `count` bytes.
  static ByteSums of(std::size_t count) {
    const uint16x8_t bias = vdupq_n_u16(static_cast<std::uint16_t>(-128 * static_cast<int>(count)));
    return {{bias, bias, bias, bias}};
  }
  /// Adds the entries of one table that 32 nibbles choose.
  void look_up(uint8x16_t table, uint8x16_t first, uint8x16_t second) {
    const uint8x16_t low = vqtbl1q_u8(table, first), high = vqtbl1q_u8(table, second);
    rows[0] = vaddw_u8(rows[0], vget_low_u8(low));
    rows[1] = vaddw_high_u8(rows[1], low);
    rows[2] = vaddw_u8(rows[2], vget_low_u8(high));
    rows[3] = vaddw_high_u8(rows[3], high);
  }
  int16x8_t sum(std::size_t i) const { return vreinterpretq_s16_u16(rows[i]); }
};

/// Byte positions, with two lookups each, for which no 16-bit sum overflows.
constexpr std::size_t kMostPositions = 32768 / 128 / 2;

/// 32 code bytes.
struct Codes {
  uint8x16_t first, second;

  template <bool Masked>
  static Codes load(const std::uint8_t* codes, const std::uint8_t* mask, std::size_t position) {
    const std::size_t at = position * kLutRows;
    if (!Masked) return {vld1q_u8(codes + at), vld1q_u8(codes + at + 16)};
    return {vandq_u8(vld1q_u8(codes + at), vld1q_u8(mask + at)),
            vandq_u8(vld1q_u8(codes + at + 16), vld1q_u8(mask + at + 16))};
  }
  Codes lower() const { return {vandq_u8(first, vdupq_n_u8(15)), vandq_u8(second, vdupq_n_u8(15))}; }
  Codes upper() const { return {vshrq_n_u8(first, 4), vshrq_n_u8(second, 4)}; }
};

/// Sixteen table entries.
struct Entries {
  int16x8_t low, high;
};

/// The signed sums of four scaled inputs, rounded: entry n adds input i where bit i of n is set and subtracts it
/// elsewhere.
inline Entries nibble_table(const float* x) {
  const float signs[8] = {-1, 1, -1, 1, -1, -1, 1, 1};
  const float32x4_t pair = vfmaq_n_f32(vmulq_n_f32(vld1q_f32(signs), x[0]), vld1q_f32(signs + 4), x[1]);
  const float32x4_t third = vdupq_n_f32(x[2]), fourth = vdupq_n_f32(x[3]);
  const float32x4_t less = vsubq_f32(pair, third), more = vaddq_f32(pair, third);
  const auto rounded = [](float32x4_t a, float32x4_t b) {
    return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a)), vqmovn_s32(vcvtnq_s32_f32(b)));
  };
  return {rounded(vsubq_f32(less, fourth), vsubq_f32(more, fourth)),
          rounded(vaddq_f32(less, fourth), vaddq_f32(more, fourth))};
}

/// totals += scaled sums, of four rows; to nothing, if they are the first.
inline void add_scaled(int32x4_t sums, float scale, bool first, float32x4_t* totals) {
  const float32x4_t values = vcvtq_f32_s32(sums);
  *totals = first ? vmulq_n_f32(values, scale) : vfmaq_n_f32(*totals, values, scale);
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_NEON_H_
