// Sums of tiles with the instructions of AMX, or with what stands for them: `Registers` are eight tiles with load,
// zero, add and store. Local to the files that include it.
#ifndef DTC_KERNELS_TILE_PRODUCTS_H_
#define DTC_KERNELS_TILE_PRODUCTS_H_

#include "kernels/tiles_driver.h"

namespace dtc {
namespace {

/// What `ldtilecfg` reads: how many rows, of how many bytes, each tile has.
struct alignas(64) TileShape {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

/// Tiles: 0 to 3 are sums of `Strips` strips of weights with `Wide` of x, 4 and 5 weights, 7 is the last of x, which has
/// fewer columns perhaps, and 5 and 6 are the others.
template <int Strips, int Wide>
struct TileUse {
  static constexpr int sum(int s, int m) { return s * Wide + m; }
  static constexpr int weights(int s) { return 4 + s; }
  static constexpr int x(int m) { return m == Wide - 1 ? 7 : Strips == 1 && m == 1 ? 5 : 6; }

  static TileShape shape(std::size_t columns) {
    const auto last = static_cast<std::uint8_t>(columns - (Wide - 1) * kTileRows);
    TileShape shape;
    for (int tile = 0; tile < 8; ++tile) {
      shape.rows[tile] = kTileRows;
      shape.row_bytes[tile] = kTileDepth;
    }
    shape.rows[7] = last;
    for (int s = 0; s < Strips; ++s) shape.rows[sum(s, Wide - 1)] = last;
    return shape;
  }
};

/// Calls body(std::integral_constant-like index) for 0 to Count - 1.
template <int I>
struct Index {
  static constexpr int value = I;
};

template <int Count, int I = 0, class Body>
inline void each(const Body& body) {
  if constexpr (I < Count) {
    body(Index<I>());
    each<Count, I + 1>(body);
  }
}

constexpr std::size_t kTileRing = 4;

/// sums [column, 32] of `Strips` strips, the first being `strips[0]`, over a span. The next tile is made while the
/// present one is multiplied.
template <class Registers, int Strips, int Wide, class Strip>
void sum_strips(Registers& registers, const Strip* strips, TileCodes& codes, const TileSpan& span,
                const TileColumns& x, std::int32_t* sums) {
  using Use = TileUse<Strips, Wide>;
  alignas(64) std::int8_t ring[kTileRing][Strips][kTileBytes];
  const std::size_t tiles = span.tiles();
  const auto make = [&](std::size_t tile) {
    const std::uint8_t* from[kTilePlanes];
    codes.find(span.begin + 8 * tile, from);
    for (int s = 0; s < Strips; ++s) strips[s].make(from, ring[tile % kTileRing][s]);
  };
  each<Strips * Wide>([&](auto i) { registers.template zero<i.value>(); });
  make(0);
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) make(tile + 1);
    const std::int8_t* columns = x.tiles + (span.tile + tile) * x.strips * kTileBytes;
    each<Strips>([&](auto s) {
      registers.template load<Use::weights(s.value)>(ring[tile % kTileRing][s.value], kTileDepth);
    });
    each<Wide>([&](auto m) {
      registers.template load<Use::x(m.value)>(columns + m.value * kTileBytes, kTileDepth);
      each<Strips>([&](auto s) {
        registers.template add<Use::sum(s.value, m.value), Use::x(m.value), Use::weights(s.value)>();
      });
    });
  }
  each<Strips>([&](auto s) {
    each<Wide>([&](auto m) {
      registers.template store<Use::sum(s.value, m.value)>(
          sums + m.value * kTileRows * kLutRows + s.value * kTileRows, kLutRows * sizeof(std::int32_t));
    });
  });
}

/// `Engine::Session` and `Engine::sum` on such registers: up to 32 columns meet both strips at a time, up to 64 one.
template <class Registers>
struct TileProducts {
  struct Session {
    explicit Session(std::size_t columns) { Registers::configure(shape(columns)); }
    ~Session() { Registers::release(); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    static TileShape shape(std::size_t columns) {
      switch ((columns + kTileRows - 1) / kTileRows) {
        case 1:
          return TileUse<2, 1>::shape(columns);
        case 2:
          return TileUse<2, 2>::shape(columns);
        case 3:
          return TileUse<1, 3>::shape(columns);
        default:
          return TileUse<1, 4>::shape(columns);
      }
    }
  };

  template <class Strip>
  static void sum(const Strip* strips, TileCodes& codes, const TileSpan& span, const TileColumns& x,
                  const std::int32_t*, std::int32_t* sums) {
    Registers registers;
    if (x.strips == 1) return sum_strips<Registers, 2, 1>(registers, strips, codes, span, x, sums);
    if (x.strips == 2) return sum_strips<Registers, 2, 2>(registers, strips, codes, span, x, sums);
    for (std::size_t s = 0; s < 2; ++s) {
      if (x.strips == 3) {
        sum_strips<Registers, 1, 3>(registers, strips + s, codes, span, x, sums + s * kTileRows);
      } else {
        sum_strips<Registers, 1, 4>(registers, strips + s, codes, span, x, sums + s * kTileRows);
      }
    }
  }
};

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILE_PRODUCTS_H_
