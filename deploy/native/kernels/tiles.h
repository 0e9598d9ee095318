// Products of many columns with weights that are made into signed bytes on the way, a tile in the nearest cache at a
// time: integer products are then faster than lookups.
#ifndef DTC_KERNELS_TILES_H_
#define DTC_KERNELS_TILES_H_

#include <cstddef>
#include <cstdint>

#include "kernels/lut.h"

namespace dtc {

/// A tile of weights is 16 rows of 64 inputs, one of x 16 columns of the same inputs: 1 KiB.
constexpr std::size_t kTileRows = 16, kTileDepth = 64, kTileBytes = kTileRows * kTileDepth;

/// No kernel multiplies more columns at a time.
constexpr std::size_t kTileColumns = 64;

/// The largest number of one byte, and of two: `upper * kTileBase + lower`.
constexpr int kTileLargest = 127, kTileBase = 254;

/// A run of byte positions, of 8 inputs each, that share coefficients and the scales of x; `tile` is its first of x.
struct TileSpan {
  std::size_t begin, end, group, tile;
  std::size_t tiles() const { return (end - begin + 7) / 8; }
};

/// Columns of x in bytes: of tile t those of columns [16 m, 16 m + 16) are at tiles + (t * strips + m) * kTileBytes, 64
/// bytes a column, in the order in which a kernel has the weights.
struct TileColumns {
  std::int8_t* tiles;
  std::size_t count, strips;  ///< columns, and ceil(columns / 16)
  float* scales;              ///< [span, column]: the value of a unit
  float* sums;                ///< [span, column]: the sum of the inputs as floats; 0 where another column counts them
  std::int32_t* totals;       ///< [span, column]: the sum of the bytes

  std::int8_t* line(std::size_t tile, std::size_t column) const {
    return tiles + ((tile * strips + column / kTileRows) * kTileRows + column % kTileRows) * kTileDepth;
  }
};

/// Planes that are multiplied in one pass over the codes.
struct TilePass {
  std::size_t first, planes;  ///< none: the mask alone, for the constant
  bool exact;                 ///< levels are whole numbers: 0, -1 and 1; else 127 is a row's largest
};

/// No pass has more planes, the mask counted.
constexpr std::size_t kTilePlanes = 4;

struct TileKernel {
  /// Makes column `column` of x [inputs]; with two digits also column `lower`, of the lower ones.
  void (*build)(const float* x, std::size_t inputs, const TileSpan* spans, std::size_t span_count, int digits,
                std::size_t column, std::size_t lower, const TileColumns& out);
  /// Between these two a thread has what `multiply` needs for so many columns.
  void (*begin)(std::size_t columns);
  void (*end)();
  /// y[column * stride + row] = the product of a block with the columns.
  void (*multiply)(const LutCodes& codes, const LutBlock& block, const TilePass* passes, std::size_t pass_count,
                   const TileSpan* spans, std::size_t span_count, const TileColumns& x, float* y, std::size_t stride);
  /// Cycles that 8 inputs of 32 rows take, as LutKernel::cycles: to make them of a plane, and to multiply a column.
  double expand_cycles, column_cycles;
};

/// The kernel of this processor; nullptr where lookups are always the better choice.
const TileKernel* tile_kernel();

}  // namespace dtc

#endif  // DTC_KERNELS_TILES_H_
