// Lookup in tables of 16 bits, as two digits of base 255: vpdpbusd multiplies the upper ones.
#include "kernels/lut_avx512vnni.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

constexpr std::size_t kBytes = 64;
constexpr int kBase = 255;

struct Step16 {
  static constexpr std::size_t positions = 1, bytes = kBytes;

  static __m512i weights() { return lanes_of(1, 1, kBase, kBase); }

  template <bool Masked>
  static void places(const std::uint8_t* signs, const std::uint8_t* mask, __m512i* out) {
    for (std::size_t h = 0; h < Avx512::vectors; ++h) {
      __m128i code = _mm_loadu_si128(reinterpret_cast<const __m128i*>(signs + 16 * h));
      if (Masked) code = _mm_and_si128(code, _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + 16 * h)));
      out[h] = places_of(_mm512_cvtepu8_epi32(code), _mm512_set1_epi64(0x2420242004000400));
    }
  }
};

/// Per byte position the lower digits of the 16 entries of the lower four inputs and of those of the upper four, then
/// the upper digits likewise; digits are from -127 to 127.
struct Table16 {
  static constexpr std::size_t bytes = kBytes;
  static constexpr int largest = 127 * kBase + 127;

  static void store(__m512i lower, __m512i upper, unsigned char* to) {
    store_digits(lower, to);
    store_digits(upper, to + 16);
  }
  static void store_digits(__m512i entries, unsigned char* to) {
    // In float: the product is off by less than the distance of any entry to the middle between two multiples.
    const __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(entries), _mm512_set1_ps(1.0F / kBase)));
    const __m512i low = _mm512_sub_epi32(entries, _mm512_mullo_epi32(high, _mm512_set1_epi32(kBase)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32), _mm512_cvtepi32_epi8(high));
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, const LutSpan& span, const float* scales,
                      __m512 (*sums)[Columns][Avx512::vectors]) {
    add_steps<Step16, Blocks, Columns, Masked>(signs, mask, tables, span.begin, span.end, scales, sums);
  }
};

}  // namespace

const LutKernel kLut16Avx512 = {Table16::bytes, 64, build_digits<Table16>, multiply_wide<Table16>, kColumns};

}  // namespace dtc
