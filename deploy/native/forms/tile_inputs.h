// Columns of x in bytes, for the kernels that multiply tiles.
#ifndef DTC_FORMS_TILE_INPUTS_H_
#define DTC_FORMS_TILE_INPUTS_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "forms/parallel.h"
#include "forms/pieces.h"
#include "forms/scratch.h"
#include "kernels/tiles.h"

namespace dtc {

/// Runs of byte positions of groups of `group_bytes`, none longer than `longest`, with the tiles of x numbered through.
std::vector<TileSpan> tile_spans(std::size_t positions, std::size_t group_bytes, std::size_t longest);

/// The relative error of rounding to bytes of so many numbers, on average, by the largest magnitude and the sum of
/// squares; 0.009 for normal numbers.
float rounding_error(float largest, float squares, std::size_t count);

/// The largest such error of the rows of x [count, inputs].
float rounding_error(const float* x, std::size_t count, std::size_t inputs);

/// The relative error of rounding to bytes that is borne at accuracy level 4; and at level 1, of which two bytes make
/// 254 times less.
constexpr float kMostRounded = 0.018F, kMostExact = 0.024F;

/// Up to `most` columns of x, in one byte a number or in two: then the upper ones come first, the lower ones after all.
class TileInputs {
 public:
  /// For so many tiles in so many spans, each with scales of its own.
  TileInputs(std::size_t tiles, std::size_t spans, int digits, std::size_t most);

  /// Calls body(column, lower, columns) for each column of x, which writes it, and the one of its lower digits.
  template <class Body>
  void build(std::size_t count, std::size_t inputs, const Parallel& parallel, const Body& body) {
    arrange(count);
    // About 2000 numbers a microsecond.
    const std::size_t pieces = std::min(count, pieces_for(static_cast<double>(count * inputs) / 2e3));
    parallel(pieces, [&](std::size_t piece) {
      const Range range = part_of(count, pieces, piece);
      for (std::size_t c = range.begin; c < range.end; ++c) body(c, c + count, columns_);
    });
  }

  const TileColumns& columns() const { return columns_; }
  int digits() const { return digits_; }

  /// Writes the products of columns of x to y [count, rows], from row `first` on: of 32 rows, by byte column.
  void put(const float* products, std::size_t first, std::size_t rows, float* y) const;

 private:
  void arrange(std::size_t count);

  std::size_t tiles_, spans_;
  int digits_;
  TileColumns columns_{};
  Scratch memory_;
};

/// How many columns of `count` are taken at a time, nearly equal shares of as many as a kernel takes.
std::size_t tile_step(std::size_t count, int digits);

}  // namespace dtc

#endif  // DTC_FORMS_TILE_INPUTS_H_
