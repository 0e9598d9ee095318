// Tiles of codewords looked up by VBMI and multiplied by AMX.
#include "kernels/codebook_tiles_driver.h"
#include "kernels/codebook_tiles_tables.h"
#include "kernels/tile_registers_amx.h"
#include "kernels/tiles_avx512.h"

namespace dtc {
namespace {

/// Four registers hold the table of a place; that of half a byte is in the first 16 bytes.
class Look {
 public:
  Look(const ByteWords& words, int digit, std::size_t place) {
    const std::int8_t* const table = words.tables + (static_cast<std::size_t>(digit) * words.places + place) * 256;
    shift_ = !words.nibbles ? -1 : place == 0 ? 0 : 4;
    if (words.nibbles) {
      // What the upper half tells is at every sixteenth byte: 0, 16, 32 and on.
      alignas(16) std::int8_t sixteen[16];
      for (std::size_t i = 0; i < 16; ++i) sixteen[i] = table[place == 0 ? i : 16 * i];
      tables_[0] = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(sixteen)));
      return;
    }
    for (int i = 0; i < 4; ++i) tables_[i] = _mm512_loadu_si512(table + 64 * i);
  }

  void at(const std::uint8_t* codes, std::size_t count, std::int8_t* to) const {
    _mm_prefetch(reinterpret_cast<const char*>(codes + 512), _MM_HINT_T0);
    const __mmask64 there = count == kTileDepth ? ~0ULL : (1ULL << count) - 1;
    _mm512_store_si512(to, found(_mm512_maskz_loadu_epi8(there, codes)));
  }

 private:
  __m512i found(__m512i codes) const {
    if (shift_ >= 0) {
      const __m512i half = shift_ == 0 ? codes : _mm512_srli_epi16(codes, 4);
      return _mm512_shuffle_epi8(tables_[0], _mm512_and_si512(half, _mm512_set1_epi8(15)));
    }
    const __m512i low = _mm512_permutex2var_epi8(tables_[0], codes, tables_[1]);
    const __m512i high = _mm512_permutex2var_epi8(tables_[2], codes, tables_[3]);
    return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(codes), high);
  }

  int shift_;
  __m512i tables_[4];
};

void build(const float* x, std::size_t inputs, std::size_t places, int digits, std::size_t column, std::size_t lower,
           const TileColumns& out) {
  float largest, sum;
  measure_avx512(x, inputs, &largest, &sum);
  const TileScale scale = tile_scale(largest, sum, digits);
  const __m512 inverse = _mm512_set1_ps(scale.inverse), by_base = _mm512_set1_ps(1.0F / kTileBase);
  const std::size_t step = kTileDepth * places, known = scale.inverse != 0.0F ? inputs : 0;
  alignas(64) std::int8_t numbers[2][kTileDepth * kMostPlaces];
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
      }
      _mm_store_si128(reinterpret_cast<__m128i*>(numbers[0] + i), _mm512_cvtsepi32_epi8(upper));
    }
    for (int d = 0; d < digits; ++d) scatter_places(numbers[d], places, d == 0 ? column : lower, part);
  }
  const std::int32_t totals[2] = {0, 0};
  put_factors(out, 0, column, lower, digits, scale, sum, totals);
}

}  // namespace

const CodebookTileKernel kCodebookTilesAmx = {build, multiply_words<AmxRegisters, Look>};

}  // namespace dtc
