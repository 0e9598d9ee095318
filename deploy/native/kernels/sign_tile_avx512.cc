#include "kernels/lut_avx512.h"
#include "kernels/lut_tables.h"
#include "kernels/sign_tile_driver.h"

namespace dtc {
namespace {

struct Avx512Signs : Avx512 {
  using I = __m512i;
  static constexpr std::size_t tile = 2;
  static I load_top(const std::uint8_t* from) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), 24);
  }
  static I doubled(I bits) { return _mm512_slli_epi32(bits, 1); }
  static F with_sign(F value, I bits) {
    return _mm512_xor_ps(value, _mm512_and_ps(_mm512_set1_ps(-0.0F), _mm512_castsi512_ps(bits)));
  }
  static F kept(F value, I bits) { return _mm512_maskz_mov_ps(_mm512_movepi32_mask(bits), value); }
};

}  // namespace

const SignTileKernel kSignTileAvx512 = {decode_tile<Avx512Signs>, multiply_decoded<Avx512Signs>, 21.0, 10.0};

}  // namespace dtc
