#include <immintrin.h>

#include "kernels/gemm.h"

namespace dtc {
namespace {

struct Vector {
  using Type = __m512;
  static constexpr std::size_t lanes = 16, tile_x = 5, tile_w = 4;  // 20 sums, 4 of w and 1 of x in 32 registers

  static Type zero() { return _mm512_setzero_ps(); }
  static Type load(const float* from) { return _mm512_loadu_ps(from); }
  static Type load_part(const float* from, std::size_t count) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
  }
  static Type multiply_add(Type a, Type b, Type sum) { return _mm512_fmadd_ps(a, b, sum); }

  /// out[i] = the sum of the lanes of the i-th argument.
  static void sums_of(Type a, Type b, Type c, Type d, float* out) {
    const Type ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const Type cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const Type low = _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0));
    const Type high = _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2));
    const Type sum = _mm512_add_ps(low, high);
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  }
};

}  // namespace
}  // namespace dtc

#include "kernels/gemm_impl.h"

namespace dtc {

extern const GemmKernels gemm_avx512;
const GemmKernels gemm_avx512 = kernels;

}  // namespace dtc
