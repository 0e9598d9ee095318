// The AVX2 side of the lookup kernels; local to the files that include it.
#ifndef DTC_KERNELS_LUT_AVX2_H_
#define DTC_KERNELS_LUT_AVX2_H_

#include <immintrin.h>

#include "kernels/lut_driver.h"

namespace dtc {
namespace {

struct Avx2 {
  using F = __m256;
  static constexpr std::size_t lanes = 8, vectors = kLutRows / lanes;
  static F load(const float* from) { return _mm256_loadu_ps(from); }
  static F load_half(const std::uint16_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static void store(float* to, F value) { _mm256_storeu_ps(to, value); }
  static F set(float value) { return _mm256_set1_ps(value); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
};

/// Code bytes are asked for this far ahead: 1.4 to 1.7 times as fast where they come from memory (Zen 3).
constexpr std::size_t kPrefetch = 1024;

inline void prefetch(const std::uint8_t* codes) {
  _mm_prefetch(reinterpret_cast<const char*>(codes + kPrefetch), _MM_HINT_T0);
}

inline __m256i load32(const std::uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

/// The table, for both halves of a register.
inline __m256i load_table(const unsigned char* from) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

/// Sums of bytes: over the 16-bit words, modulo 2^16, and over their upper bytes alone. That takes three instructions
/// for 32 bytes; the lower bytes' sums are the difference.
struct ByteSums {
  __m256i all, odd;

  static ByteSums zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  void add(__m256i bytes) {
    all = _mm256_add_epi16(all, bytes);
    odd = _mm256_add_epi16(odd, _mm256_srli_epi16(bytes, 8));
  }
  /// The sums as 32-bit numbers, in the bytes' order.
  void widen(__m256i out[4]) const {
    const __m256i even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
    const __m256i low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);
    out[0] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(low));
    out[1] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(high));
    out[2] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(low, 1));
    out[3] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(high, 1));
  }
};

/// Byte positions for which no 16-bit sum overflows, with two lookups each.
constexpr std::size_t kMostPositions = 65535 / 255 / 2;

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

/// The sum of the inputs of byte positions [begin, end), and the largest entry that their tables have.
inline void measure(const float* x, std::size_t begin, std::size_t end, float* sum, float* largest) {
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

/// `LutKernel::build` for tables of whole numbers up to Table::largest; Table::store writes the tables of a byte
/// position and returns the sum of the entries that add all inputs.
template <class Table>
void build_rounded(const float* x, const LutSpan* spans, std::size_t span_count, unsigned char* tables,
                   LutFactors* factors) {
  for (std::size_t s = 0; s < span_count; ++s) {
    float sum, largest;
    measure(x, spans[s].begin, spans[s].end, &sum, &largest);
    // What is not finite shows in the sum, even where the maximum does not see it.
    const bool finite = sum - sum == 0.0F && largest - largest == 0.0F;
    largest = finite && largest > 1e-30F ? largest : 1e-30F;
    const __m256 inverse = _mm256_set1_ps(static_cast<float>(Table::largest) / largest);
    int total = 0;
    for (std::size_t b = spans[s].begin; b < spans[s].end; ++b) {
      float scaled[8];
      _mm256_storeu_ps(scaled, _mm256_mul_ps(_mm256_loadu_ps(x + 8 * b), inverse));
      total += Table::store(nibble_table(scaled), nibble_table(scaled + 4), tables + b * Table::bytes);
    }
    const float scale = finite ? largest / static_cast<float>(Table::largest) : __builtin_nanf("");
    factors[s] = {scale, sum, scale * static_cast<float>(total)};
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_AVX2_H_
