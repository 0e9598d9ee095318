// Vectors of codewords for the files that are compiled for AVX2 or more. Nothing here has external linkage.
#ifndef DTC_KERNELS_CODEBOOK_WORDS_X86_H_
#define DTC_KERNELS_CODEBOOK_WORDS_X86_H_

#include <immintrin.h>

#include <cstddef>

namespace dtc {
namespace {

struct One {
  using Type = __m128;
  static constexpr std::size_t lanes = 1;
  static Type zero() { return _mm_setzero_ps(); }
  static Type load(const float* from) { return _mm_load_ss(from); }
  static void store(float* to, Type a) { _mm_store_ss(to, a); }
  static Type multiply_add(Type a, Type b, Type sum) { return _mm_fmadd_ss(a, b, sum); }
  static float sum(Type a) { return _mm_cvtss_f32(a); }
};

struct Two {
  using Type = __m128;  // the upper half is zero
  static constexpr std::size_t lanes = 2;
  static Type zero() { return _mm_setzero_ps(); }
  static Type load(const float* from) {
    return _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  }
  static void store(float* to, Type a) { _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_castps_si128(a)); }
  static Type multiply_add(Type a, Type b, Type sum) { return _mm_fmadd_ps(a, b, sum); }
  static float sum(Type a) { return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a))); }
};

struct Four {
  using Type = __m128;
  static constexpr std::size_t lanes = 4;
  static Type zero() { return _mm_setzero_ps(); }
  static Type load(const float* from) { return _mm_loadu_ps(from); }
  static void store(float* to, Type a) { _mm_storeu_ps(to, a); }
  static Type multiply_add(Type a, Type b, Type sum) { return _mm_fmadd_ps(a, b, sum); }
  static float sum(Type a) { return Two::sum(_mm_add_ps(a, _mm_movehl_ps(a, a))); }
};

struct Many {
  using Type = __m256;
  static constexpr std::size_t lanes = 8;
  static Type zero() { return _mm256_setzero_ps(); }
  static Type load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Type a) { _mm256_storeu_ps(to, a); }
  static Type multiply_add(Type a, Type b, Type sum) { return _mm256_fmadd_ps(a, b, sum); }
  static float sum(Type a) { return Four::sum(_mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1))); }
};

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_WORDS_X86_H_
