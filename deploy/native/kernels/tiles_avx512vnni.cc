// Tiles multiplied by VNNI: vpdpbusd takes one operand as unsigned, so the weights have 128 more, and the sums 128
// times the sum of the column too much.
#include "kernels/tile_tables.h"
#include "kernels/tiles_avx512.h"

namespace dtc {
namespace {

constexpr int kOffset = 128;
/// Tiles of both strips that are made before columns meet them: a third of the nearest cache.
constexpr std::size_t kMade = 8;

/// sums += in each 32-bit lane the products of four bytes of `weights`, unsigned, with four of x, signed.
inline void add_four(__m512i weights, __m512i x, __m512i& sums) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(x));
}

struct Vnni : NothingTaken {
  static constexpr auto alphas = alphas_avx512;
  template <int Planes>
  using Strip = Avx512Strip<Planes, kOffset>;

  /// sums [column, 32] += tiles [tile, strip] times `Columns` columns from `column` on.
  template <int Columns>
  static void add_columns(const std::int8_t* made, std::size_t tiles, std::size_t first, const TileColumns& x,
                          std::size_t column, std::int32_t* sums) {
    __m512i own[Columns][2];
#pragma GCC unroll 12
    for (int c = 0; c < Columns; ++c) {
      own[c][0] = _mm512_load_si512(sums + c * kLutRows);
      own[c][1] = _mm512_load_si512(sums + c * kLutRows + kTileRows);
    }
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const std::int8_t* lines[Columns];
#pragma GCC unroll 12
      for (int c = 0; c < Columns; ++c) lines[c] = x.line(first + tile, column + static_cast<std::size_t>(c));
      const std::int8_t* const weights = made + tile * 2 * kTileBytes;
      for (std::size_t at = 0; at < kTileDepth; at += 4) {
        const __m512i low = _mm512_load_si512(weights + at * kTileRows);
        const __m512i high = _mm512_load_si512(weights + kTileBytes + at * kTileRows);
#pragma GCC unroll 12
        for (int c = 0; c < Columns; ++c) {
          const __m512i four = _mm512_set1_epi32(*reinterpret_cast<const std::int32_t*>(lines[c] + at));
          add_four(low, four, own[c][0]);
          add_four(high, four, own[c][1]);
        }
      }
    }
#pragma GCC unroll 12
    for (int c = 0; c < Columns; ++c) {
      _mm512_store_si512(sums + c * kLutRows, own[c][0]);
      _mm512_store_si512(sums + c * kLutRows + kTileRows, own[c][1]);
    }
  }

  template <class Strip>
  static void sum(const Strip* strips, TileCodes& codes, const TileSpan& span, const TileColumns& x,
                  const std::int32_t* totals, std::int32_t* sums) {
    using Add = void (*)(const std::int8_t*, std::size_t, std::size_t, const TileColumns&, std::size_t, std::int32_t*);
    constexpr Add by_columns[] = {add_columns<1>, add_columns<2>, add_columns<3>, add_columns<4>, add_columns<5>,
                                  add_columns<6>, add_columns<7>, add_columns<8>, add_columns<9>, add_columns<10>};
    constexpr std::size_t most = sizeof by_columns / sizeof *by_columns;
    for (std::size_t c = 0; c < x.count; ++c) {
      const __m512i extra = _mm512_set1_epi32(-kOffset * totals[c]);
      _mm512_store_si512(sums + c * kLutRows, extra);
      _mm512_store_si512(sums + c * kLutRows + kTileRows, extra);
    }
    alignas(64) std::int8_t made[kMade * 2 * kTileBytes];
    for (std::size_t begin = 0; begin < span.tiles(); begin += kMade) {
      const std::size_t tiles = span.tiles() - begin < kMade ? span.tiles() - begin : kMade;
      for (std::size_t tile = 0; tile < tiles; ++tile) {
        const std::uint8_t* from[kTilePlanes];
        codes.find(span.begin + 8 * (begin + tile), from);
        strips[0].make(from, made + tile * 2 * kTileBytes);
        strips[1].make(from, made + tile * 2 * kTileBytes + kTileBytes);
      }
      for (std::size_t column = 0; column < x.count;) {
        const std::size_t left = x.count - column, passes = (left + most - 1) / most;
        const std::size_t taken = (left + passes - 1) / passes;  // equal shares rather than a small rest
        by_columns[taken - 1](made, tiles, span.tile + begin, x, column, sums + column * kLutRows);
        column += taken;
      }
    }
  }
};

}  // namespace

const TileKernel kTilesVnni = {build_avx512, Vnni::begin, Vnni::end, multiply_tiles<Vnni>, 2.2, 1.15};

}  // namespace dtc
