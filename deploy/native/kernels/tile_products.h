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

/// How eight tiles are used: 0 to 3 are sums of `Strips` strips of weights with `Wide` of x, 4 and 5 weights, 7 is the
/// last of x, which has fewer columns perhaps, and 5 and 6 are the others. Of a product's two operands the left one has
/// its 64 inputs in a row, the right one in lines of four: `WeightsLeft` tells which one the weights are.
template <int Strips, int Wide, bool WeightsLeft>
struct TileUse {
  static constexpr int strips = Strips, wide = Wide;
  static constexpr int sum(int s, int m) { return s * Wide + m; }
  static constexpr int weights(int s) { return 4 + s; }
  static constexpr int x(int m) { return m == Wide - 1 ? 7 : Strips == 1 && m == 1 ? 5 : 6; }
  static constexpr int left(int s, int m) { return WeightsLeft ? weights(s) : x(m); }
  static constexpr int right(int s, int m) { return WeightsLeft ? x(m) : weights(s); }

  static TileShape shape(std::size_t columns) {
    const std::size_t last = columns - (Wide - 1) * kTileRows;
    TileShape shape;
    for (int tile = 0; tile < 8; ++tile) {
      shape.rows[tile] = kTileRows;
      shape.row_bytes[tile] = kTileDepth;
    }
    shrink(shape, 7, last);
    for (int s = 0; s < Strips; ++s) shrink(shape, sum(s, Wide - 1), last);
    return shape;
  }

 private:
  static void shrink(TileShape& shape, int tile, std::size_t columns) {
    if (WeightsLeft) {
      shape.row_bytes[tile] = static_cast<std::uint16_t>(4 * columns);
    } else {
      shape.rows[tile] = static_cast<std::uint8_t>(columns);
    }
  }
};

/// A number that is known when compiling.
template <int I>
struct Index {
  static constexpr int value = I;
};

/// Calls body(Index<i>()) for i below Count.
template <int Count, int I = 0, class Body>
inline void each(const Body& body) {
  if constexpr (I < Count) {
    body(Index<I>());
    each<Count, I + 1>(body);
  }
}

/// The tiles of a span of x, `strips` side by side.
struct TileRun {
  const std::int8_t* x;
  std::size_t strips, tiles;
};

/// The sums of a run of tiles. make(group, part, to) writes one of `Group` parts of the weights [tile, strip, 1 KiB] of
/// so many tiles, a part of the next ones while each of the present ones is multiplied; of strip s and m of x the sums
/// go to sums + s * strip_step + m * x_step, in lines of `line` sums.
template <class Registers, class Use, std::size_t Group, class Make>
void sum_tiles(const Make& make, const TileRun& run, std::int32_t* sums, std::size_t strip_step, std::size_t x_step,
               std::size_t line) {
  Registers registers;
  alignas(64) std::int8_t ring[2][Group][Use::strips * kTileBytes];
  each<Use::strips * Use::wide>([&](auto i) { registers.template zero<i.value>(); });
  for (std::size_t part = 0; part < Group; ++part) make(0, part, ring[0][0]);
  for (std::size_t tile = 0; tile < run.tiles; ++tile) {
    const std::size_t group = tile / Group, part = tile % Group;
    if ((group + 1) * Group < run.tiles) make(group + 1, part, ring[(group + 1) % 2][0]);
    const std::int8_t* const columns = run.x + tile * run.strips * kTileBytes;
    each<Use::strips>([&](auto s) {
      registers.template load<Use::weights(s.value)>(ring[group % 2][part] + s.value * kTileBytes, kTileDepth);
    });
    each<Use::wide>([&](auto m) {
      registers.template load<Use::x(m.value)>(columns + m.value * kTileBytes, kTileDepth);
      each<Use::strips>([&](auto s) {
        registers.template add<Use::sum(s.value, m.value), Use::left(s.value, m.value), Use::right(s.value, m.value)>();
      });
    });
  }
  each<Use::strips>([&](auto s) {
    each<Use::wide>([&](auto m) {
      registers.template store<Use::sum(s.value, m.value)>(sums + s.value * strip_step + m.value * x_step,
                                                           line * sizeof(std::int32_t));
    });
  });
}

/// The use of tiles for so many columns: up to 32 meet two strips of weights at a time, up to 64 one.
template <bool WeightsLeft>
TileShape tile_shape(std::size_t columns) {
  switch ((columns + kTileRows - 1) / kTileRows) {
    case 1:
      return TileUse<2, 1, WeightsLeft>::shape(columns);
    case 2:
      return TileUse<2, 2, WeightsLeft>::shape(columns);
    case 3:
      return TileUse<1, 3, WeightsLeft>::shape(columns);
    default:
      return TileUse<1, 4, WeightsLeft>::shape(columns);
  }
}

/// The sums of two strips with as many columns as the registers were configured for; make(first, count, group, part,
/// to) writes the weights of `count` strips from `first` on.
template <class Registers, bool WeightsLeft, std::size_t Group, class Make>
void sum_two_strips(const Make& make, const TileRun& run, std::int32_t* sums, std::size_t strip_step,
                    std::size_t x_step, std::size_t line) {
  if (run.strips <= 2) {
    const auto both = [&](std::size_t group, std::size_t part, std::int8_t* to) { make(0, 2, group, part, to); };
    if (run.strips == 1) {
      return sum_tiles<Registers, TileUse<2, 1, WeightsLeft>, Group>(both, run, sums, strip_step, x_step, line);
    }
    return sum_tiles<Registers, TileUse<2, 2, WeightsLeft>, Group>(both, run, sums, strip_step, x_step, line);
  }
  for (std::size_t s = 0; s < 2; ++s) {
    const auto one = [&](std::size_t group, std::size_t part, std::int8_t* to) { make(s, 1, group, part, to); };
    std::int32_t* const to = sums + s * strip_step;
    if (run.strips == 3) {
      sum_tiles<Registers, TileUse<1, 3, WeightsLeft>, Group>(one, run, to, strip_step, x_step, line);
    } else {
      sum_tiles<Registers, TileUse<1, 4, WeightsLeft>, Group>(one, run, to, strip_step, x_step, line);
    }
  }
}

/// `Engine` on such registers.
template <class Registers>
struct TileProducts {
  static void begin(std::size_t columns) { Registers::configure(tile_shape<false>(columns)); }
  static void end() { Registers::release(); }

  template <class Strip>
  static void sum(const Strip* strips, TileCodes& codes, const TileSpan& span, const TileColumns& x,
                  const std::int32_t*, std::int32_t* sums) {
    const auto make = [&](std::size_t first, std::size_t count, std::size_t tile, std::size_t, std::int8_t* to) {
      const std::uint8_t* from[kTilePlanes];
      codes.find(span.begin + 8 * tile, from);
      for (std::size_t s = 0; s < count; ++s) strips[first + s].make(from, to + s * kTileBytes);
    };
    const TileRun run{x.tiles + span.tile * x.strips * kTileBytes, x.strips, span.tiles()};
    sum_two_strips<Registers, false, 1>(make, run, sums, kTileRows, kTileRows * kLutRows, kLutRows);
  }
};

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILE_PRODUCTS_H_
