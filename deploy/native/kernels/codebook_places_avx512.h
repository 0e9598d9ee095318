// Codewords looked up with VBMI, and numbers of x in their order: what the kernels for AMX and for VNNI share. Local to
// the files that include it.
#ifndef DTC_KERNELS_CODEBOOK_PLACES_AVX512_H_
#define DTC_KERNELS_CODEBOOK_PLACES_AVX512_H_

#include "kernels/codebook_tiles.h"
#include "kernels/tiles_avx512.h"

namespace dtc {
namespace {

/// 64 codes of a row, or what there is of them.
inline __m512i codes_at(const std::uint8_t* codes, std::size_t count) {
  return _mm512_maskz_loadu_epi8(count >= kTileDepth ? ~0ULL : (1ULL << count) - 1, codes);
}

/// What bytes mean at a place.
class PlaceTable {
 public:
  PlaceTable() = default;
  PlaceTable(const ByteWords& words, int digit, std::size_t place) {
    const std::int8_t* const table = words.tables + (static_cast<std::size_t>(digit) * words.places + place) * 256;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) quarters_[i] = _mm512_loadu_si512(table + 64 * i);
  }

  /// `upper` are the codes whose highest bit is set.
  __m512i find(__m512i codes, __mmask64 upper) const {
    const __m512i low = _mm512_permutex2var_epi8(quarters_[0], codes, quarters_[1]);
    const __m512i high = _mm512_permutex2var_epi8(quarters_[2], codes, quarters_[3]);
    return _mm512_mask_mov_epi8(low, upper, high);
  }

 private:
  __m512i quarters_[4];
};

/// What halves of bytes mean, one of sixteen words each.
class HalfTable {
 public:
  HalfTable() = default;
  /// What the lower half tells is the beginning of a table.
  HalfTable(const ByteWords& words, int digit) {
    const void* const table = words.tables + static_cast<std::size_t>(digit) * words.places * 256;
    sixteen_ = _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(table)));
  }

  __m512i lower(__m512i codes) const { return find(codes); }
  __m512i upper(__m512i codes) const { return find(_mm512_srli_epi16(codes, 4)); }

 private:
  __m512i find(__m512i halves) const {
    return _mm512_shuffle_epi8(sixteen_, _mm512_and_si512(halves, _mm512_set1_epi8(15)));
  }

  __m512i sixteen_;
};

/// `CodebookTileKernel::build`; put(numbers [64, places], column, part) writes what 64 bytes of indices meet to where
/// `part` begins.
template <class Put>
void build_places(const float* x, std::size_t inputs, std::size_t places, int digits, std::size_t column,
                  std::size_t lower, const TileColumns& out, const Put& put) {
  float largest, sum;
  measure_avx512(x, inputs, &largest, &sum);
  const TileScale scale = tile_scale(largest, sum, digits);
  const __m512 inverse = _mm512_set1_ps(scale.inverse), by_base = _mm512_set1_ps(1.0F / kTileBase);
  const std::size_t step = kTileDepth * places, known = scale.inverse != 0.0F ? inputs : 0;
  alignas(64) std::int8_t numbers[2][kTileDepth * kMostPlaces];
  __m512i totals[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  TileColumns part = out;
  for (std::size_t begin = 0; begin < inputs; begin += step, part.tiles += places * out.strips * kTileBytes) {
    for (std::size_t i = 0; i < step; i += 16) {
      const std::size_t at = begin + i, left = at < known ? known - at : 0;
      const auto there = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1U << left) - 1);
      const __m512i number = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(there, x + at), inverse));
      __m512i upper = number;
      if (digits == 2) {
        upper = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(number), by_base));
        const __m512i rest = _mm512_sub_epi32(number, _mm512_mullo_epi32(upper, _mm512_set1_epi32(kTileBase)));
        _mm_store_si128(reinterpret_cast<__m128i*>(numbers[1] + i), _mm512_cvtsepi32_epi8(rest));
        totals[1] = _mm512_add_epi32(totals[1], rest);
      }
      _mm_store_si128(reinterpret_cast<__m128i*>(numbers[0] + i), _mm512_cvtsepi32_epi8(upper));
      totals[0] = _mm512_add_epi32(totals[0], upper);
    }
    for (int d = 0; d < digits; ++d) put(numbers[d], d == 0 ? column : lower, part);
  }
  const std::int32_t total[2] = {_mm512_reduce_add_epi32(totals[0]), _mm512_reduce_add_epi32(totals[1])};
  put_factors(out, 0, column, lower, digits, scale, sum, total);
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_PLACES_AVX512_H_
