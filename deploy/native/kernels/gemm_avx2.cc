#include <immintrin.h>

#include "kernels/gemm.h"

namespace dtc {
namespace {

struct Vector {
  using Type = __m256;
  static constexpr std::size_t lanes = 8, tile_x = 3, tile_w = 4;  // 12 sums, 3 of x or 4 of w, 1 in flight: 16

  static Type zero() { return _mm256_setzero_ps(); }
  static Type load(const float* from) { return _mm256_loadu_ps(from); }
  static Type load_part(const float* from, std::size_t count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane));
  }
  static Type multiply_add(Type a, Type b, Type sum) { return _mm256_fmadd_ps(a, b, sum); }

  /// out[i] = the sum of the lanes of the i-th argument.
  static void sums_of(Type a, Type b, Type c, Type d, float* out) {
    const Type ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const Type cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const Type low = _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0));
    const Type high = _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2));
    const Type sum = _mm256_add_ps(low, high);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1)));
  }
};

}  // namespace
}  // namespace dtc

#include "kernels/gemm_impl.h"

namespace dtc {

extern const GemmKernels gemm_avx2;
const GemmKernels gemm_avx2 = kernels;

}  // namespace dtc
