#include "forms/binary_columns.h"

#include <algorithm>

namespace dtc {
namespace {

constexpr std::size_t kPieceSteps = 16384;  // 20 us and more
/// A table is made from 8 inputs in about the time of so many steps.
constexpr std::size_t kBuildSteps = 4;
constexpr std::size_t kMostPieces = 8;

/// Bytes from a column's tables to the next one's: such that parts of them that are used together, a share of
/// `kNearBytes` each, do not displace one another from a cache of which addresses 4096 apart share a place.
std::size_t stride_of(std::size_t bytes, std::size_t columns) {
  const std::size_t share = kNearBytes / columns, apart = 4096;
  return bytes <= share ? bytes : bytes + (share + apart - bytes % apart) % apart;
}

}  // namespace

std::size_t pieces_of_steps(std::size_t steps, std::size_t units) {
  return std::max<std::size_t>(1, std::min({steps / kPieceSteps, units, kMostPieces}));
}

BinaryColumns::BinaryColumns(const LutKernel& kernel, const std::vector<LutSpan>& spans, std::size_t cols,
                             std::size_t most)
    : kernel_(kernel),
      spans_(spans),
      cols_(cols),
      positions_((cols + 7) / 8),
      table_bytes_(stride_of(positions_ * kernel.table_bytes, kernel.columns)),
      // 64 more: of the last table a whole register may be read.
      memory_(aligned(most * table_bytes_ + 64) + aligned(most * spans.size() * sizeof(LutFactors)) +
              most * positions_ * 8 * sizeof(float)),
      tables_(memory_.data()),
      factors_(reinterpret_cast<LutFactors*>(tables_ + aligned(most * table_bytes_ + 64))),
      padded_(reinterpret_cast<float*>(reinterpret_cast<unsigned char*>(factors_) +
                                       aligned(most * spans.size() * sizeof(LutFactors)))) {}

void BinaryColumns::build(const float* x, std::size_t count, const Parallel& parallel) {
  count_ = count;
  const std::size_t pieces = pieces_of_steps(count * positions_ * kBuildSteps, count);
  parallel(pieces, [&](std::size_t piece) {
    const Range range = part_of(count, pieces, piece);
    for (std::size_t i = range.begin; i < range.end; ++i) build_one(x + i * cols_, i);
  });
}

BinaryColumns::Some BinaryColumns::some(const Range& range, std::size_t first) const {
  Some some = {{}, range.end - range.begin};
  for (std::size_t c = 0; c < some.count; ++c) {
    const std::size_t i = range.begin + c;
    some.columns[c] = {tables_ + i * table_bytes_, factors_ + i * spans_.size() + first};
  }
  return some;
}

void BinaryColumns::build_one(const float* x, std::size_t i) {
  const std::size_t width = positions_ * 8;
  if (width != cols_) {
    float* whole = padded_ + i * width;
    std::copy_n(x, cols_, whole);
    std::fill(whole + cols_, whole + width, 0.0F);
    x = whole;
  }
  kernel_.build(x, spans_.data(), spans_.size(), tables_ + i * table_bytes_, factors_ + i * spans_.size());
}

}  // namespace dtc
