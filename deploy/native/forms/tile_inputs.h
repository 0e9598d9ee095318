// Columns of x in bytes, for the kernels that multiply tiles.
#ifndef DTC_FORMS_TILE_INPUTS_H_
#define DTC_FORMS_TILE_INPUTS_H_

#include <cstddef>
#include <vector>

#include "forms/parallel.h"
#include "forms/scratch.h"
#include "kernels/tiles.h"

namespace dtc {

/// Runs of byte positions of groups of `group_bytes`, none longer than `longest`, with the tiles of x numbered through.
std::vector<TileSpan> tile_spans(std::size_t positions, std::size_t group_bytes, std::size_t longest);

/// Some columns of x, in one byte a number or in two: then the upper ones come first, the lower ones after them all.
class TileInputs {
 public:
  TileInputs(const TileKernel& kernel, const std::vector<TileSpan>& spans, std::size_t inputs, int digits,
             std::size_t most);

  /// Takes x [count, inputs].
  void build(const float* x, std::size_t count, const Parallel& parallel);

  const TileColumns& columns() const { return columns_; }
  int digits() const { return digits_; }
  /// Columns of x; there are `digits` times as many of bytes.
  std::size_t count() const { return columns_.count / static_cast<std::size_t>(digits_); }

 private:
  const TileKernel& kernel_;
  const std::vector<TileSpan>& spans_;
  std::size_t inputs_, tiles_;
  int digits_;
  TileColumns columns_{};
  Scratch memory_;
};

}  // namespace dtc

#endif  // DTC_FORMS_TILE_INPUTS_H_
