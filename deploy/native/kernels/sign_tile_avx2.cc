#include "kernels/lut_avx2.h"
#include "kernels/lut_tables.h"
#include "kernels/sign_tile_driver.h"

namespace dtc {
namespace {

struct Avx2Signs : Avx2 {
  using I = __m256i;
  static constexpr std::size_t tile = 2;
  static I load_top(const std::uint8_t* from) {
    return _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))), 24);
  }
  static I doubled(I bits) { return _mm256_slli_epi32(bits, 1); }
  static F with_sign(F value, I bits) {
    return _mm256_xor_ps(value, _mm256_and_ps(_mm256_set1_ps(-0.0F), _mm256_castsi256_ps(bits)));
  }
  static F kept(F value, I bits) { return _mm256_and_ps(value, _mm256_castsi256_ps(_mm256_srai_epi32(bits, 31))); }
};

}  // namespace

const SignTileKernel kSignTileAvx2 = {decode_tile<Avx2Signs>, multiply_decoded<Avx2Signs>, 40.0, 18.0};

}  // namespace dtc
