// What the kernels of tiles of codewords share. Local to the files that include it.
//
// `Look` looks bytes up: look(words, digit, place) makes one for a table, and its at(codes, count, to) writes 64 bytes.
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

/// `CodebookTileKernel::multiply`.
template <class Registers, class Look>
void multiply_words(const IndexRows& rows, const ByteWords& words, const TileColumns& x, float* y) {
  const TileSession<Registers, true> session(x.count);
  const std::size_t steps = (rows.row_bytes + kTileDepth - 1) / kTileDepth;
  const TileRun run{x.tiles, x.strips, steps * words.places};
  alignas(64) std::int32_t sums[kLutRows * kTileColumns];
  for (int digit = 0; digit < words.digits; ++digit) {
    const auto make = [&](std::size_t first, std::size_t count, std::size_t tile, std::int8_t* to) {
      const std::size_t at = tile / words.places * kTileDepth, left = rows.row_bytes - at;
      const Look look(words, digit, tile % words.places);
      for (std::size_t r = 0; r < count * kTileRows; ++r) {
        const std::size_t row = first * kTileRows + r, there = row < rows.rows ? row : rows.rows - 1;
        look.at(rows.codes + there * rows.row_bytes + at, left < kTileDepth ? left : kTileDepth, to + r * kTileDepth);
      }
    };
    sum_two_strips<Registers, true>(make, run, sums, kTileRows * kTileColumns, kTileRows, kTileColumns);
    const bool upper = words.digits == 2 && digit == 0;
    add_turned(sums, x, upper ? words.unit * kTileBase : words.unit, digit == 0, y);
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_TILES_DRIVER_H_
