// The AVX2 side of the lookup kernels; local to the files that include it.
#ifndef DTC_KERNELS_LUT_AVX2_H_
#define DTC_KERNELS_LUT_AVX2_H_

#include <immintrin.h>

#include "kernels/lut_driver.h"

namespace dtc {
namespace {

inline float sum_of(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

inline float max_of(__m256 v) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_shuffle_ps(half, half, 1)));
}

struct Avx2 {
  using F = __m256;
  static constexpr std::size_t lanes = 8, vectors = kLutRows / lanes;
  static F load(const float* from) { return _mm256_loadu_ps(from); }
  static F load_half(const std::uint16_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static void prefetch(const void* from) { _mm_prefetch(static_cast<const char*>(from), _MM_HINT_T0); }
  static void store(float* to, F value) { _mm256_storeu_ps(to, value); }
  static F set(float value) { return _mm256_set1_ps(value); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }

  /// The sum of the inputs of byte positions [begin, end), and the largest entry that their tables have.
  static void measure(const float* x, std::size_t begin, std::size_t end, float* sum, float* largest) {
    __m256 sums = _mm256_setzero_ps(), most = _mm256_setzero_ps();
    for (std::size_t b = begin; b < end; ++b) {
      const __m256 value = _mm256_loadu_ps(x + 8 * b);
      sums = _mm256_add_ps(sums, value);
      __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), value);
      size = _mm256_add_ps(size, _mm256_permute_ps(size, 0xB1));
      size = _mm256_add_ps(size, _mm256_permute_ps(size, 0x4E));
      most = _mm256_max_ps(most, size);
    }
    *sum = sum_of(sums);
    *largest = max_of(most);
  }
};

inline __m256i load32(const std::uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

template <bool Masked>
inline __m256i load_code(const std::uint8_t* codes, const std::uint8_t* mask, std::size_t position) {
  const __m256i code = load32(codes + position * kLutRows);
  return Masked ? _mm256_and_si256(code, load32(mask + position * kLutRows)) : code;
}

inline __m256i lower_nibbles(__m256i code) { return _mm256_and_si256(code, _mm256_set1_epi8(15)); }
inline __m256i upper_nibbles(__m256i code) { return lower_nibbles(_mm256_srli_epi16(code, 4)); }

/// The table, for both halves of a register.
inline __m256i load_table(const unsigned char* from) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

/// Sums of unsigned bytes, each less 128: over the 16-bit words that they are half of, modulo 2^16, and over the words'
/// upper bytes alone. That takes three instructions for 32 bytes; the lower bytes' sums are the difference.
struct ByteSums {
  __m256i words, odd;

  /// Nothing yet of `count` bytes.
  static ByteSums of(std::size_t count) {
    const int bias = -128 * static_cast<int>(count);
    return {_mm256_set1_epi16(static_cast<short>(bias + bias * 256)), _mm256_set1_epi16(static_cast<short>(bias))};
  }
  void add(__m256i bytes) {
    words = _mm256_add_epi16(words, bytes);
    odd = _mm256_add_epi16(odd, _mm256_srli_epi16(bytes, 8));
  }
  __m256i even() const { return _mm256_sub_epi16(words, _mm256_slli_epi16(odd, 8)); }
};

/// Adds the scaled sums, 32-bit whole numbers; to nothing, if they are the first.
inline void add_scaled(const __m256i* sums, float scale, bool first, __m256* totals) {
  const __m256 unit = _mm256_set1_ps(scale);
  if (first) {
    for (int i = 0; i < 4; ++i) totals[i] = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i]), unit);
  } else {
    for (int i = 0; i < 4; ++i) totals[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i]), unit, totals[i]);
  }
}

/// Byte positions, with two lookups each, for which no 16-bit sum overflows.
constexpr std::size_t kMostPositions = 32768 / 128 / 2;

/// The signed sums of four scaled inputs, rounded: entry n adds input i where bit i of n is set and subtracts it
/// elsewhere. As sixteen 16-bit numbers.
inline __m256i nibble_table(const float* x) {
  const __m256 sign0 = _mm256_setr_ps(-1, 1, -1, 1, -1, 1, -1, 1);
  const __m256 sign1 = _mm256_setr_ps(-1, -1, 1, 1, -1, -1, 1, 1);
  const __m256 sign2 = _mm256_setr_ps(-1, -1, -1, -1, 1, 1, 1, 1);
  __m256 sum = _mm256_mul_ps(sign0, _mm256_broadcast_ss(x));
  sum = _mm256_fmadd_ps(sign1, _mm256_broadcast_ss(x + 1), sum);
  sum = _mm256_fmadd_ps(sign2, _mm256_broadcast_ss(x + 2), sum);
  const __m256 last = _mm256_broadcast_ss(x + 3);
  const __m256i low = _mm256_cvtps_epi32(_mm256_sub_ps(sum, last));
  const __m256i high = _mm256_cvtps_epi32(_mm256_add_ps(sum, last));
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_AVX2_H_
