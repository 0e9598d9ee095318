#include "forms/tile_inputs.h"

#include <cmath>

#include "kernels/magnitudes.h"

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

float rounding_error(float largest, float squares, std::size_t count) {
  // A unit is largest / 127, and rounding to it is wrong by a twelfth of its square on average.
  const float typical = std::sqrt(squares / static_cast<float>(count));
  return typical > 0.0F ? largest / (std::sqrt(12.0F) * static_cast<float>(kTileLargest) * typical) : 0.0F;
}

float rounding_error(const float* x, std::size_t count, std::size_t inputs) {
  float most = 0.0F;
  for (std::size_t c = 0; c < count; ++c) {
    float largest, squares;
    measure_magnitudes(x + c * inputs, inputs, &largest, &squares);
    most = std::max(most, rounding_error(largest, squares, inputs));
  }
  return most;
}

std::size_t tile_step(std::size_t count, int digits) {
  const std::size_t fit = kTileColumns / static_cast<std::size_t>(digits), turns = (count + fit - 1) / fit;
  return (count + turns - 1) / turns;
}

TileInputs::TileInputs(std::size_t tiles, std::size_t spans, int digits, std::size_t most)
    : tiles_(tiles),
      spans_(spans),
      digits_(digits),
      memory_(bytes_of(tiles, spans, most * static_cast<std::size_t>(digits))) {}

void TileInputs::arrange(std::size_t count) {
  columns_.count = count * static_cast<std::size_t>(digits_);
  columns_.strips = strips_of(columns_.count);
  const std::size_t factors = aligned(spans_ * columns_.count * sizeof(float));
  unsigned char* at = memory_.data();
  columns_.tiles = reinterpret_cast<std::int8_t*>(at);
  at += tiles_ * columns_.strips * kTileBytes;
  columns_.scales = reinterpret_cast<float*>(at);
  columns_.sums = reinterpret_cast<float*>(at + factors);
  columns_.totals = reinterpret_cast<std::int32_t*>(at + 2 * factors);
}

void TileInputs::put(const float* products, std::size_t first, std::size_t rows, float* y) const {
  const std::size_t height = std::min(kLutRows, rows - first);
  const std::size_t count = columns_.count / static_cast<std::size_t>(digits_);
  for (std::size_t c = 0; c < count; ++c) {
    const float* const upper = products + c * kLutRows;
    const float* const lower = upper + count * kLutRows;
    float* const to = y + c * rows + first;
    for (std::size_t r = 0; r < height; ++r) to[r] = digits_ == 2 ? upper[r] + lower[r] : upper[r];
  }
}

}  // namespace dtc
