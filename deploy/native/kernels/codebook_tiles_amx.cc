// Tiles of codewords looked up by VBMI and multiplied by AMX.
#include "kernels/codebook_tiles_driver.h"
#include "kernels/codebook_tiles_tables.h"
#include "kernels/tile_registers_amx.h"
#include "kernels/tiles_avx512.h"

namespace dtc {
namespace {

inline __m512i codes_at(const std::uint8_t* codes, std::size_t count) {
  return _mm512_maskz_loadu_epi8(count == kTileDepth ? ~0ULL : (1ULL << count) - 1, codes);
}

/// Four registers hold the table of a place.
template <std::size_t Group>
class Look {
 public:
  static constexpr std::size_t group = Group;

  Look(const ByteWords& words, int digit, std::size_t place) {
    const std::int8_t* const tables = words.tables + (static_cast<std::size_t>(digit) * words.places + place) * 256;
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 4 * Group; ++i) tables_[i] = _mm512_loadu_si512(tables + 64 * i);
  }

  void at(const std::uint8_t* from, std::size_t count, std::size_t step, std::int8_t* to) const {
    const __m512i codes = codes_at(from, count);
    const __mmask64 upper = _mm512_movepi8_mask(codes);
#pragma GCC unroll 4
    for (std::size_t p = 0; p < Group; ++p) {
      const __m512i low = _mm512_permutex2var_epi8(tables_[4 * p], codes, tables_[4 * p + 1]);
      const __m512i high = _mm512_permutex2var_epi8(tables_[4 * p + 2], codes, tables_[4 * p + 3]);
      _mm512_store_si512(to + p * step, _mm512_mask_mov_epi8(low, upper, high));
    }
  }

 private:
  __m512i tables_[4 * Group];
};

/// Sixteen words, by both halves of a byte.
class LookHalves {
 public:
  static constexpr std::size_t group = 2;

  /// What the lower half tells is the beginning of a table.
  LookHalves(const ByteWords& words, int digit, std::size_t) {
    const void* const table = words.tables + static_cast<std::size_t>(digit) * words.places * 256;
    table_ = _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(table)));
  }

  void at(const std::uint8_t* from, std::size_t count, std::size_t step, std::int8_t* to) const {
    const __m512i codes = codes_at(from, count), half = _mm512_set1_epi8(15);
    _mm512_store_si512(to, _mm512_shuffle_epi8(table_, _mm512_and_si512(codes, half)));
    const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(codes, 4), half);
    _mm512_store_si512(to + step, _mm512_shuffle_epi8(table_, upper));
  }

 private:
  __m512i table_;
};

struct Looks {
  template <std::size_t Group>
  using Some = Look<Group>;
  using Halves = LookHalves;
};

using Tiles = CodebookTiles<AmxRegisters, Looks>;

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

const CodebookTileKernel kCodebookTilesAmx = {build, Tiles::begin, Tiles::end, Tiles::multiply};

}  // namespace dtc
