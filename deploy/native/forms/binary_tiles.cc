#include "forms/binary_tiles.h"

#include <algorithm>

#include "forms/pieces.h"

namespace dtc {
namespace {

/// Byte positions whose sum 32 bits hold, however large the numbers.
constexpr std::size_t kSpanBytes = 4096;

constexpr std::size_t kNever = static_cast<std::size_t>(-1);

/// Exactly, plane by plane; else as many planes at once as a table of levels takes.
std::vector<TilePass> passes_of(const BinaryShape& shape, bool exact) {
  const std::size_t most = exact ? 1 : kTilePlanes - (shape.masked ? 1 : 0);
  std::vector<TilePass> passes;
  for (std::size_t first = 0; first < shape.bits; first += most) {
    passes.push_back({first, std::min(most, shape.bits - first), exact});
  }
  if (exact && shape.masked && shape.constant) passes.push_back({0, 0, true});
  return passes;
}

}  // namespace

BinaryTiles::BinaryTiles(const BinaryShape& shape, int accuracy_level, const LutKernel& look_up)
    : shape_(shape),
      kernel_(accuracy_level == 0 ? nullptr : tile_kernel()),
      exact_(accuracy_level != 4),
      least_{kNever, kNever} {
  // Groups of less than a tile would fill it with nothing.
  if (kernel_ == nullptr || shape.rows == 0 || shape.cols == 0) return;
  if (shape.groups > 1 && shape.group_bytes * 8 < kTileDepth) return;
  passes_ = passes_of(shape, exact_);
  spans_ = tile_spans(shape.positions, shape.group_bytes, kSpanBytes);
  if (!exact_) least_[0] = least_columns(look_up, 1);
  least_[1] = least_columns(look_up, 2);
}

std::size_t BinaryTiles::least_columns(const LutKernel& look_up, int digits) const {
  const double planes = static_cast<double>(shape_.planes()), passes = static_cast<double>(passes_.size());
  const double saved = planes * look_up.cycles - passes * digits * kernel_->column_cycles;
  return saved > 0.0 ? static_cast<std::size_t>(planes * kernel_->expand_cycles / saved) + 1 : kNever;
}

int BinaryTiles::digits_for(const float* x, std::size_t count) const {
  if (count < least_[0] && count < least_[1]) return 0;
  const float error = rounding_error(x, count, shape_.cols);
  if (count >= least_[0] && error <= kMostRounded) return 1;
  return count >= least_[1] && (!exact_ || error <= kMostExact) ? 2 : 0;
}

void BinaryTiles::multiply(const LutCodes& codes, const Blocks& blocks, const float* x, std::size_t count, int digits,
                           float* y, const Parallel& parallel) const {
  const std::size_t height = (shape_.rows + kLutRows - 1) / kLutRows;
  const std::size_t step = tile_step(count, digits);
  TileInputs inputs(spans_.back().tile + spans_.back().tiles(), spans_.size(), digits, step);
  for (std::size_t first = 0; first < count; first += step) {
    const std::size_t some = std::min(step, count - first);
    const auto build = [&](std::size_t column, std::size_t lower, const TileColumns& columns) {
      kernel_->build(x + (first + column) * shape_.cols, shape_.cols, spans_.data(), spans_.size(), digits, column,
                     lower, columns);
    };
    inputs.build(some, shape_.cols, parallel, build);
    // About 150,000 weights and columns a microsecond.
    const double work = static_cast<double>(shape_.rows) * static_cast<double>(shape_.cols) *
                        static_cast<double>(passes_.size() * (some + 16));
    const std::size_t pieces = std::min(height, pieces_for(work / 1.5e5));
    parallel(pieces, [&](std::size_t piece) {
      kernel_->begin(inputs.columns().count);
      multiply_blocks(codes, blocks, part_of(height, pieces, piece), inputs, y + first * shape_.rows);
      kernel_->end();
    });
  }
}

void BinaryTiles::multiply_blocks(const LutCodes& codes, const Blocks& blocks, const Range& range,
                                  const TileInputs& inputs, float* y) const {
  float out[kTileColumns * kLutRows];
  const auto multiply = [&](std::size_t index, float* to, std::size_t stride) {
    kernel_->multiply(codes, blocks(index), passes_.data(), passes_.size(), spans_.data(), spans_.size(),
                      inputs.columns(), to, stride);
  };
  for (std::size_t index = range.begin; index < range.end; ++index) {
    const std::size_t first = index * kLutRows;
    if (inputs.digits() == 1 && first + kLutRows <= shape_.rows) {
      multiply(index, y + first, shape_.rows);
    } else {
      multiply(index, out, kLutRows);
      inputs.put(out, first, shape_.rows, y);
    }
  }
}

}  // namespace dtc
