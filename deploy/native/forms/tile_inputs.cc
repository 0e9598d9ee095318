#include "forms/tile_inputs.h"

#include <algorithm>

#include "forms/pieces.h"

namespace dtc {
namespace {

std::size_t strips_of(std::size_t columns) { return (columns + kTileRows - 1) / kTileRows; }

std::size_t bytes_of(std::size_t tiles, std::size_t spans, std::size_t columns) {
  return tiles * strips_of(columns) * kTileBytes + 3 * aligned(spans * columns * sizeof(float));
}

}  // namespace

std::vector<TileSpan> tile_spans(std::size_t positions, std::size_t group_bytes, std::size_t longest) {
  std::vector<TileSpan> spans;
  std::size_t tile = 0;
  for (std::size_t first = 0, group = 0; first < positions; first += group_bytes, ++group) {
    const std::size_t end = first + std::min(group_bytes, positions - first);
    for (std::size_t begin = first; begin < end; begin += longest) {
      spans.push_back({begin, std::min(begin + longest, end), group, tile});
      tile += spans.back().tiles();
    }
    if (group_bytes >= positions - first) break;  // the next sum might overflow
  }
  return spans;
}

TileInputs::TileInputs(const TileKernel& kernel, const std::vector<TileSpan>& spans, std::size_t inputs, int digits,
                       std::size_t most)
    : kernel_(kernel),
      spans_(spans),
      inputs_(inputs),
      tiles_(spans.back().tile + spans.back().tiles()),
      digits_(digits),
      memory_(bytes_of(tiles_, spans.size(), most * static_cast<std::size_t>(digits))) {}

void TileInputs::build(const float* x, std::size_t count, const Parallel& parallel) {
  columns_.count = count * static_cast<std::size_t>(digits_);
  columns_.strips = strips_of(columns_.count);
  const std::size_t factors = aligned(spans_.size() * columns_.count * sizeof(float));
  unsigned char* at = memory_.data();
  columns_.tiles = reinterpret_cast<std::int8_t*>(at);
  at += tiles_ * columns_.strips * kTileBytes;
  columns_.scales = reinterpret_cast<float*>(at);
  columns_.sums = reinterpret_cast<float*>(at + factors);
  columns_.totals = reinterpret_cast<std::int32_t*>(at + 2 * factors);
  // About 2000 numbers a microsecond.
  const std::size_t pieces = std::min(count, pieces_for(static_cast<double>(count * inputs_) / 2e3));
  parallel(pieces, [&](std::size_t piece) {
    const Range range = part_of(count, pieces, piece);
    for (std::size_t c = range.begin; c < range.end; ++c) {
      kernel_.build(x + c * inputs_, inputs_, spans_.data(), spans_.size(), digits_, c, c + count, columns_);
    }
  });
}

}  // namespace dtc
