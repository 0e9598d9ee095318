// Lookup in tables of 16 bits, of two digits.
#include "kernels/lut_avx512vnni.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// One byte position: the four tables are of the lower digits of the lower and of the upper four inputs, and of the
/// upper digits likewise.
struct OnePosition {
  static constexpr std::size_t positions = 1, bytes = 64;
  static constexpr int halves = 1, digits = 1;

  static __m512i weights(int) { return lanes_of(1, 1, kDigitBase, kDigitBase); }

  template <bool Masked>
  static void places(const std::uint8_t* signs, const std::uint8_t* mask, __m512i (*out)[Avx512::vectors]) {
    const __m512i shifts = _mm512_set1_epi64(0x2420242004000400);
    for (std::size_t h = 0; h < Avx512::vectors; ++h) {
      __m128i code = _mm_loadu_si128(reinterpret_cast<const __m128i*>(signs + 16 * h));
      if (Masked) code = _mm_and_si128(code, _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + 16 * h)));
      out[0][h] = places_of(_mm512_multishift_epi64_epi8(shifts, _mm512_cvtepu8_epi32(code)));
    }
  }
};

/// Per byte position 64 bytes: of four as `FourPositions` has them, of what is left as `OnePosition` has them.
struct Table16 {
  static constexpr std::size_t bytes = 64;
  static constexpr int digits = 2, largest = 127 * kDigitBase + 127;

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, const LutSpan& span, const float* scales,
                      __m512 (*sums)[Columns][Avx512::vectors]) {
    look_up_bytes<Table16, Blocks, Columns, Masked>(signs, mask, tables, span, scales, sums);
  }

  template <int Blocks, int Columns, bool Masked>
  static void rest(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                   const unsigned char* const* tables, std::size_t begin, std::size_t end, const float* scales,
                   __m512 (*sums)[Columns][Avx512::vectors]) {
    add_steps<OnePosition, Blocks, Columns, Masked>(signs, mask, tables, begin, end, scales, sums);
  }
};

}  // namespace

const LutKernel kLut16Avx512 = {Table16::bytes, 64, build_digits<Table16>, multiply_wide<Table16>, 1.8, kColumns};

}  // namespace dtc
