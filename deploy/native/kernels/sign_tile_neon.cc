#include "kernels/lut_neon.h"
#include "kernels/lut_tables.h"
#include "kernels/sign_tile_driver.h"

namespace dtc {
namespace {

struct NeonSigns : Neon {
  using I = uint32x4_t;
  static constexpr std::size_t tile = 4;
  static I load_top(const std::uint8_t* from) {
    std::uint32_t four;
    __builtin_memcpy(&four, from, sizeof four);
    const uint16x8_t wide = vmovl_u8(vcreate_u8(four));
    return vshlq_n_u32(vmovl_u16(vget_low_u16(wide)), 24);
  }
  static I doubled(I bits) { return vshlq_n_u32(bits, 1); }
  static F with_sign(F value, I bits) {
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(value), vandq_u32(bits, vdupq_n_u32(0x80000000U))));
  }
  static F kept(F value, I bits) {
    const uint32x4_t mask = vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_u32(bits), 31));
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(value), mask));
  }
};

}  // namespace

// The cycles are those of AVX2: not measured, but lookups and products halve alike with the registers' width.
const SignTileKernel kSignTileNeon = {decode_tile<NeonSigns>, multiply_decoded<NeonSigns>, 40.0, 18.0};

}  // namespace dtc
