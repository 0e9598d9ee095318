// Tiles of codewords looked up by VBMI and multiplied by VNNI.
#include "kernels/codebook_places_avx512.h"
#include "kernels/codebook_tiles_tables.h"
#include "kernels/tile_products_vnni.h"

namespace dtc {
namespace {

/// Turns 16 rows of 16 lanes.
inline void turn_lanes(const __m512i* rows, __m512i* out) {
  __m512i pairs[16], fours[16], halves[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // lanes l, l + 4, l + 8 and l + 12 of four rows
    fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    halves[i] = _mm512_shuffle_i32x4(fours[i], fours[4 + i], 0x88);
    halves[4 + i] = _mm512_shuffle_i32x4(fours[i], fours[4 + i], 0xDD);
    halves[8 + i] = _mm512_shuffle_i32x4(fours[8 + i], fours[12 + i], 0x88);
    halves[12 + i] = _mm512_shuffle_i32x4(fours[8 + i], fours[12 + i], 0xDD);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[i] = _mm512_shuffle_i32x4(halves[i], halves[8 + i], 0x88);
    out[4 + i] = _mm512_shuffle_i32x4(halves[4 + i], halves[12 + i], 0x88);
    out[8 + i] = _mm512_shuffle_i32x4(halves[i], halves[8 + i], 0xDD);
    out[12 + i] = _mm512_shuffle_i32x4(halves[4 + i], halves[12 + i], 0xDD);
  }
}

/// What bytes mean at any place of a word.
class Words {
 public:
  void look_at(const ByteWords& words, int digit, std::size_t place) { table_ = PlaceTable(words, digit, place); }
  __m512i find(__m512i codes) const { return table_.find(codes, _mm512_movepi8_mask(codes)); }

 private:
  PlaceTable table_;
};

/// What one half of a byte means, or the other.
class Halves {
 public:
  void look_at(const ByteWords& words, int digit, std::size_t place) {
    table_ = HalfTable(words, digit);
    shift_ = _mm_cvtsi32_si128(place == 0 ? 0 : 4);
  }
  __m512i find(__m512i codes) const { return table_.lower(_mm512_srl_epi16(codes, shift_)); }

 private:
  HalfTable table_;
  __m128i shift_;
};

/// The tiles of up to 32 rows, for `sum_made`: of each 64 bytes of indices one for every place.
template <class Look>
class WordTiles {
 public:
  WordTiles(const IndexRows& rows, const ByteWords& words, int digit) : rows_(rows), words_(words), digit_(digit) {}

  void next() {
    if (half_ == 0 && strip_ == 0) {
      if (place_ == 0) turn();
      look_.look_at(words_, digit_, place_);
    }
    quads_ = turned_[strip_] + half_ * kMadeLines;
    strip_ ^= half_;
    half_ ^= 1;
    if (half_ == 0 && strip_ == 0 && ++place_ == words_.places) place_ = 0;
  }

  template <int Line>
  __m512i line() const {
    return _mm512_xor_si512(look_.find(quads_[Line]), _mm512_set1_epi8(static_cast<char>(kVnniOffset)));
  }

 private:
  /// Register q gets bytes 4 q to 4 q + 3 of each row, in the row's lane.
  void turn() {
    const std::size_t last = rows_.rows - 1;
    for (std::size_t s = 0; s < 2; ++s) {
      __m512i lines[kTileRows];
#pragma GCC unroll 16
      for (std::size_t r = 0; r < kTileRows; ++r) {
        const std::size_t row = s * kTileRows + r < last ? s * kTileRows + r : last;
        const std::uint8_t* const codes = rows_.codes + row * rows_.row_bytes + byte_;
        _mm_prefetch(reinterpret_cast<const char*>(codes + kLutRows * rows_.row_bytes), _MM_HINT_T1);
        lines[r] = codes_at(codes, rows_.row_bytes - byte_);
      }
      turn_lanes(lines, turned_[s]);
    }
    byte_ += kTileDepth;
  }

  const IndexRows& rows_;
  const ByteWords& words_;
  int digit_;
  Look look_;
  std::size_t byte_ = 0, place_ = 0, strip_ = 0, half_ = 0;
  const __m512i* quads_ = nullptr;
  __m512i turned_[2][kTileRows];
};

/// The sums [column, 32] of one digit of the words.
template <class Look>
void sum_words(const IndexRows& rows, const ByteWords& words, int digit, const TileColumns& x, std::int32_t* sums) {
  WordTiles<Look> tiles(rows, words, digit);
  sum_made(tiles, (rows.row_bytes + kTileDepth - 1) / kTileDepth * words.places, 0, x, x.totals, sums);
}

void multiply(const IndexRows& rows, const ByteWords& words, const TileColumns& x, float* y) {
  alignas(64) std::int32_t sums[kTileColumns * kLutRows];
  for (int digit = 0; digit < words.digits; ++digit) {
    words.nibbles ? sum_words<Halves>(rows, words, digit, x, sums) : sum_words<Words>(rows, words, digit, x, sums);
    const float unit = words.digits == 2 && digit == 0 ? words.unit * kTileBase : words.unit;
    for (std::size_t c = 0; c < x.count; ++c) {
      const float scale = x.scales[c] * unit;
      for (std::size_t i = c * kLutRows; i < (c + 1) * kLutRows; ++i) {
        const float number = static_cast<float>(sums[i]) * scale;
        y[i] = digit == 0 ? number : y[i] + number;
      }
    }
  }
}

void build(const float* x, std::size_t inputs, std::size_t places, int digits, std::size_t column, std::size_t lower,
           const TileColumns& out) {
  build_places(x, inputs, places, digits, column, lower, out,
               [&](const std::int8_t* numbers, std::size_t to, const TileColumns& part) {
                 for (std::size_t d = 0; d < places; ++d) {
                   std::int8_t* const line = part.line(d, to);
                   for (std::size_t i = 0; i < kTileDepth; ++i) line[i] = numbers[i * places + d];
                 }
               });
}

}  // namespace

const CodebookTileKernel kCodebookTilesVnni = {build, NothingTaken::begin, NothingTaken::end, multiply, 9};

}  // namespace dtc
