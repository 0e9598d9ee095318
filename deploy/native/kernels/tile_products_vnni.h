// Sums of tiles with VNNI: vpdpbusd takes one operand as unsigned, so the weights have 128 more, and the sums 128 times
// the sum of the column too much. Local to the files that include it.
//
// A processor has other units for products than for what makes tiles. So both go on together, line by line: one by one
// they took 1.2 to 1.6 times as long (Zen 4).
#ifndef DTC_KERNELS_TILE_PRODUCTS_VNNI_H_
#define DTC_KERNELS_TILE_PRODUCTS_VNNI_H_

#include <immintrin.h>

#include <type_traits>

#include "kernels/tiles.h"

namespace dtc {
namespace {

constexpr int kVnniOffset = 128;

/// Tiles of two strips that are made before columns meet them: with the next ones, half of the nearest cache.
constexpr std::size_t kMade = 4;

/// Lines of a tile, of four inputs of 16 rows each, that are made after another.
constexpr std::size_t kMadeLines = 8;

/// Such tiles: [tile, strip, line, row, 4], each byte with `kVnniOffset` more.
struct MadeTiles {
  alignas(64) std::int8_t bytes[kMade * 2 * kTileBytes];
};

/// Calls body(integral constant) for each of the lines that are made after another: what makes one may depend on which
/// of them it is.
template <class Body>
[[gnu::always_inline]] inline void each_line(const Body& body) {
  body(std::integral_constant<int, 0>());
  body(std::integral_constant<int, 1>());
  body(std::integral_constant<int, 2>());
  body(std::integral_constant<int, 3>());
  body(std::integral_constant<int, 4>());
  body(std::integral_constant<int, 5>());
  body(std::integral_constant<int, 6>());
  body(std::integral_constant<int, 7>());
}

/// Makes tiles by and by. `Source` has next(), which goes on to the next eight lines, and line<i>(), which returns one.
template <class Source>
class Making {
 public:
  explicit Making(Source& source) : source_(source) {}

  void begin(MadeTiles& made, std::size_t tiles) {
    to_ = made.bytes;
    left_ = tiles * 2 * kTileBytes / (kMadeLines * kTileDepth);
  }

  /// Whether there are eight more lines to make.
  bool next() {
    if (left_ == 0) return false;
    --left_;
    source_.next();
    return true;
  }

  template <int Line>
  void line() {
    _mm512_store_si512(to_, source_.template line<Line>());
    to_ += kTileDepth;
  }

  void finish() {
    while (next()) {
      each_line([this](auto i) { this->template line<i.value>(); });
    }
  }

 private:
  Source& source_;
  std::int8_t* to_ = nullptr;
  std::size_t left_ = 0;
};

/// sums += in each 32-bit lane the products of four bytes of `weights`, unsigned, with four of x, signed.
inline void add_four(__m512i weights, __m512i x, __m512i& sums) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(x));
}

/// sums [column, 32] += tiles times `Columns` columns from `column` on, while others are made; the first tile is tile
/// `first` of x.
template <int Columns, class Source>
void add_made_columns(const MadeTiles& made, std::size_t tiles, std::size_t first, const TileColumns& x,
                      std::size_t column, std::int32_t* sums, Making<Source>& making) {
  constexpr int depth = static_cast<int>(kTileDepth);
  __m512i own[Columns][2];
#pragma GCC unroll 12
  for (int c = 0; c < Columns; ++c) {
    own[c][0] = _mm512_load_si512(sums + c * kLutRows);
    own[c][1] = _mm512_load_si512(sums + c * kLutRows + kTileRows);
  }
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    const std::int8_t* lines = x.line(first + tile, column);  // those of the other columns follow
    const std::int8_t* weights = made.bytes + tile * 2 * kTileBytes;
    for (std::size_t begin = 0; begin < kTileRows; begin += kMadeLines) {
      const bool makes = making.next();
      each_line([&](auto i) __attribute__((always_inline)) {
        const __m512i low = _mm512_load_si512(weights), high = _mm512_load_si512(weights + kTileBytes);
#pragma GCC unroll 12
        for (int c = 0; c < Columns; ++c) {
          const __m512i four = _mm512_set1_epi32(*reinterpret_cast<const std::int32_t*>(lines + c * depth));
          add_four(low, four, own[c][0]);
          add_four(high, four, own[c][1]);
        }
        if (makes) making.template line<i.value>();
        weights += kTileDepth;
        lines += 4;
      });
    }
  }
#pragma GCC unroll 12
  for (int c = 0; c < Columns; ++c) {
    _mm512_store_si512(sums + c * kLutRows, own[c][0]);
    _mm512_store_si512(sums + c * kLutRows + kTileRows, own[c][1]);
  }
}

/// sums [column, 32] += tiles times all columns, while others are made; the first tile is tile `first` of x.
template <class Source>
void add_made(const MadeTiles& made, std::size_t tiles, std::size_t first, const TileColumns& x, std::int32_t* sums,
              Making<Source>& making) {
  using Add = void (*)(const MadeTiles&, std::size_t, std::size_t, const TileColumns&, std::size_t, std::int32_t*,
                       Making<Source>&);
  constexpr Add by_columns[] = {add_made_columns<1, Source>, add_made_columns<2, Source>, add_made_columns<3, Source>,
                                add_made_columns<4, Source>, add_made_columns<5, Source>, add_made_columns<6, Source>,
                                add_made_columns<7, Source>, add_made_columns<8, Source>, add_made_columns<9, Source>,
                                add_made_columns<10, Source>};
  constexpr std::size_t most = sizeof by_columns / sizeof *by_columns;
  for (std::size_t column = 0; column < x.count;) {
    const std::size_t left = x.count - column, passes = (left + most - 1) / most;
    const std::size_t taken = (left + passes - 1) / passes;  // equal shares rather than a small rest
    by_columns[taken - 1](made, tiles, first, x, column, sums + column * kLutRows, making);
    column += taken;
  }
}

/// sums [column, 32] = so many tiles of the source, times those of x from `first` on.
template <class Source>
void sum_made(Source& source, std::size_t tiles, std::size_t first, const TileColumns& x, const std::int32_t* totals,
              std::int32_t* sums) {
  for (std::size_t c = 0; c < x.count; ++c) {
    const __m512i extra = _mm512_set1_epi32(-kVnniOffset * totals[c]);
    _mm512_store_si512(sums + c * kLutRows, extra);
    _mm512_store_si512(sums + c * kLutRows + kTileRows, extra);
  }
  MadeTiles made[2];
  Making<Source> making(source);
  const auto at_most = [](std::size_t left) { return left < kMade ? left : kMade; };
  making.begin(made[0], at_most(tiles));
  making.finish();
  for (std::size_t begin = 0, turn = 0; begin < tiles; begin += kMade, turn = 1 - turn) {
    const std::size_t some = at_most(tiles - begin);
    making.begin(made[1 - turn], at_most(tiles - begin - some));
    add_made(made[turn], some, first + begin, x, sums, making);
    making.finish();
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILE_PRODUCTS_VNNI_H_
