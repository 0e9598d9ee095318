// What the kernels of tiles of codewords share. Local to the files that include it.
//
// `Looks` look bytes up: Looks::Some<Group> and Looks::Halves, for both halves of a byte, have `group`, the places that
// are looked up at a time, are made of (words, digit, first place), and their at(codes, count, step, to) writes 64
// bytes of each place, `step` bytes apart.
#ifndef DTC_KERNELS_CODEBOOK_TILES_DRIVER_H_
#define DTC_KERNELS_CODEBOOK_TILES_DRIVER_H_

#include "kernels/codebook_tiles.h"
#include "kernels/tile_products.h"

namespace dtc {
namespace {

/// Writes the numbers of 64 bytes of indices as tiles, one for each place of a byte; a column's byte 4 q + i is in line
/// q.
inline void scatter_places(const std::int8_t* numbers, std::size_t places, std::size_t column, const TileColumns& out) {
  for (std::size_t d = 0; d < places; ++d) {
    std::int8_t* to = out.tiles + (d * out.strips + column / kTileRows) * kTileBytes + column % kTileRows * 4;
    for (std::size_t q = 0; q < kTileDepth / 4; ++q, to += kTileDepth) {
      std::int8_t four[4];
      for (std::size_t i = 0; i < 4; ++i) four[i] = numbers[(4 * q + i) * places + d];
      __builtin_memcpy(to, four, 4);
    }
  }
}

/// y[column * 32 + row] (+)= factor * scale of the column * sums [row, 64 columns].
inline void add_turned(const std::int32_t* sums, const TileColumns& x, float factor, bool first, float* y) {
  for (std::size_t c = 0; c < x.count; ++c) {
    const float scale = x.scales[c] * factor;
    float* const to = y + c * kLutRows;
    for (std::size_t r = 0; r < kLutRows; ++r) {
      const float number = static_cast<float>(sums[r * kTileColumns + c]) * scale;
      to[r] = first ? number : to[r] + number;
    }
  }
}

/// The sums [row, 64 columns] of one digit.
template <class Registers, class Look>
void sum_words(const IndexRows& rows, const ByteWords& words, int digit, const TileColumns& x, std::int32_t* sums) {
  constexpr std::size_t group = Look::group;
  const auto make = [&](std::size_t first, std::size_t count, std::size_t at, std::size_t part, std::int8_t* to) {
    const std::size_t byte = at * group / words.places * kTileDepth, left = rows.row_bytes - byte;
    const Look look(words, digit, at * group % words.places);
    const std::size_t high = count * kTileRows / group, last = rows.rows - 1;
    for (std::size_t r = part * high; r < (part + 1) * high; ++r) {
      const std::size_t row = first * kTileRows + r;
      const std::uint8_t* const codes = rows.codes + (row < last ? row : last) * rows.row_bytes + byte;
      __builtin_prefetch(codes + kLutRows * rows.row_bytes, 0, 2);
      look.at(codes, left < kTileDepth ? left : kTileDepth, count * kTileBytes, to + r * kTileDepth);
    }
  };
  const TileRun run{x.tiles, x.strips, (rows.row_bytes + kTileDepth - 1) / kTileDepth * words.places};
  sum_two_strips<Registers, true, group>(make, run, sums, kTileRows * kTileColumns, kTileRows, kTileColumns);
}

/// `CodebookTileKernel` on such registers.
template <class Registers, class Looks>
struct CodebookTiles {
  static void begin(std::size_t columns) { Registers::configure(tile_shape<true>(columns)); }
  static void end() { Registers::release(); }

  static void multiply(const IndexRows& rows, const ByteWords& words, const TileColumns& x, float* y) {
    using Sum = void (*)(const IndexRows&, const ByteWords&, int, const TileColumns&, std::int32_t*);
    const Sum sum = words.nibbles           ? sum_words<Registers, typename Looks::Halves>
                    : words.places % 4 == 0 ? sum_words<Registers, typename Looks::template Some<4>>
                                            : sum_words<Registers, typename Looks::template Some<1>>;
    alignas(64) std::int32_t sums[kLutRows * kTileColumns];
    for (int digit = 0; digit < words.digits; ++digit) {
      sum(rows, words, digit, x, sums);
      const bool upper = words.digits == 2 && digit == 0;
      add_turned(sums, x, upper ? words.unit * kTileBase : words.unit, digit == 0, y);
    }
  }
};

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_TILES_DRIVER_H_
