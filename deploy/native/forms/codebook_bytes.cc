#include "forms/codebook_bytes.h"

#include <algorithm>
#include <cmath>

#include "forms/pieces.h"
#include "forms/scratch.h"
#include "forms/tile_inputs.h"

namespace dtc {
namespace {

/// Inputs whose products 32 bits hold the sum of, however large.
constexpr std::size_t kMostInputs = 65536;

/// Columns from which on tiles are faster than partial sums of each, and up to which those are faster than floats.
constexpr std::size_t kLeastTiled = 3, kMostSummed = 8;

/// Rows for which the partial sums of a column are worth making, where tiles would do.
constexpr std::size_t kSummedRows = 1024;

IndexRows rows_from(const IndexRows& all, std::size_t first, std::size_t most) {
  return {all.codes + first * all.row_bytes, all.row_bytes, std::min(most, all.rows - first)};
}

}  // namespace

CodebookBytes::CodebookBytes(const Codebook& codebook, std::size_t rows, std::size_t cols, int accuracy_level)
    : all_{codebook.codes, codebook.row_bytes, rows},
      cols_(cols),
      places_(8 / codebook.bits * codebook.block),
      exact_(accuracy_level == 1),
      sums_(nullptr),
      tiles_(nullptr),
      nibbles_(nullptr) {
  const bool fits = places_ <= kMostPlaces && rows != 0 && cols != 0 && cols <= kMostInputs;
  if (accuracy_level == 0 || !fits) return;
  make_words(codebook);
  const auto finite = [](float word) { return std::isfinite(word); };
  if (!std::all_of(words_.begin(), words_.end(), finite)) return;
  const bool halves = codebook.bits == 4 && codebook.block == 1;
  if (!halves) sums_ = codebook_sums_kernel();
  if (!make_bytes(halves)) return;
  tiles_ = codebook_tile_kernel();
  if (halves) nibbles_ = codebook_nibbles_kernel();
}

void CodebookBytes::make_words(const Codebook& codebook) {
  words_.resize(places_ * 256);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    for (std::size_t d = 0; d < places_; ++d) {
      const std::size_t index = byte >> (d / codebook.block * codebook.bits) & ((1U << codebook.bits) - 1);
      words_[d * 256 + byte] = codebook.words[index * codebook.stride + d % codebook.block];
    }
  }
}

/// Rounds the words to one byte or to two; false where two are not enough.
bool CodebookBytes::make_bytes(bool halves) {
  float largest = 0.0F, squares = 0.0F;
  for (const float word : words_) {
    largest = std::max(largest, std::fabs(word));
    squares += word * word;
  }
  const float error = rounding_error(largest, squares, words_.size());
  if (exact_ && error > kMostExact) return false;
  const int digits = exact_ || error > kMostRounded ? 2 : 1;
  const float most = static_cast<float>(digits == 2 ? kTileLargest * kTileBase : kTileLargest);
  const float unit = std::max(largest, 1e-30F) / most;
  bytes_.resize(static_cast<std::size_t>(digits) * words_.size());
  for (std::size_t i = 0; i < words_.size(); ++i) {
    const long number = std::lround(words_[i] / unit);
    const long upper = digits == 2 ? std::lround(static_cast<double>(number) / kTileBase) : number;
    bytes_[i] = static_cast<std::int8_t>(upper);
    if (digits == 2) bytes_[words_.size() + i] = static_cast<std::int8_t>(number - upper * kTileBase);
  }
  rounded_ = {bytes_.data(), places_, digits, unit, halves};
  return true;
}

bool CodebookBytes::multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  // With long words and many rows, partial sums cost little before they are looked up.
  const bool summed = exact_ && sums_ != nullptr && places_ >= 4 && all_.rows >= kSummedRows;
  const bool tiled = tiles_ != nullptr && count >= (summed ? tiles_->least_exact : kLeastTiled);
  const bool in_bytes = tiled || (nibbles_ != nullptr && count <= kMostSummed);
  if (in_bytes) {
    const float error = rounding_error(x, count, cols_);
    const int digits = exact_ || error > kMostRounded ? 2 : 1;
    if (!exact_ || error <= kMostExact) {
      tiled ? by_tiles(x, count, digits, y, parallel) : by_nibbles(x, count, digits, y, parallel);
      return true;
    }
  }
  if (sums_ == nullptr || count > kMostSummed) return false;
  by_sums(x, count, y, parallel);
  return true;
}

void CodebookBytes::by_tiles(const float* x, std::size_t count, int digits, float* y, const Parallel& parallel) const {
  const std::size_t step = tile_step(count, digits), strips = (all_.rows + kLutRows - 1) / kLutRows;
  const std::size_t tiles = (all_.row_bytes + kTileDepth - 1) / kTileDepth * places_;
  TileInputs inputs(tiles, 1, digits, step);
  for (std::size_t first = 0; first < count; first += step) {
    const std::size_t some = std::min(step, count - first);
    const auto build = [&](std::size_t column, std::size_t lower, const TileColumns& columns) {
      tiles_->build(x + (first + column) * cols_, cols_, places_, digits, column, lower, columns);
    };
    inputs.build(some, cols_, parallel, build);
    // About 150,000 weights and columns a microsecond.
    const double work = static_cast<double>(all_.rows) * static_cast<double>(cols_) *
                        static_cast<double>(rounded_.digits) * static_cast<double>(some + 16);
    const std::size_t pieces = std::min(strips, pieces_for(work / 1.5e5));
    parallel(pieces, [&](std::size_t piece) {
      const Range range = part_of(strips, pieces, piece);
      float out[kTileColumns * kLutRows];
      tiles_->begin(inputs.columns().count);
      for (std::size_t i = range.begin; i < range.end; ++i) {
        tiles_->multiply(rows_from(all_, i * kLutRows, kLutRows), rounded_, inputs.columns(), out);
        inputs.put(out, i * kLutRows, all_.rows, y + first * all_.rows);
      }
      tiles_->end();
    });
  }
}

void CodebookBytes::by_nibbles(const float* x, std::size_t count, int digits, float* y,
                               const Parallel& parallel) const {
  NibbleColumn column{};
  column.stride = aligned(all_.row_bytes);
  column.digits = digits;
  const Scratch memory(2 * static_cast<std::size_t>(digits) * column.stride);
  column.bytes = reinterpret_cast<std::int8_t*>(memory.data());
  // About 15,000 bytes of indices a microsecond.
  const double work = static_cast<double>(all_.rows) * static_cast<double>(all_.row_bytes);
  const std::size_t pieces = pieces_for(work / 1.5e4);
  for (std::size_t i = 0; i < count; ++i) {
    nibbles_->build(x + i * cols_, cols_, column);
    parallel(pieces, [&](std::size_t piece) {
      const Range part = rows_of(all_.rows, pieces, piece);
      nibbles_->multiply(rows_from(all_, part.begin, part.end - part.begin), rounded_, column,
                         y + i * all_.rows + part.begin);
    });
  }
}

void CodebookBytes::by_sums(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  const std::size_t runs = (all_.row_bytes + kSumsRun - 1) / kSumsRun;
  const std::size_t blocks = (all_.rows + kSumsLanes - 1) / kSumsLanes;
  const std::size_t table_bytes = all_.row_bytes * kSumsTable;
  const Scratch memory(table_bytes + aligned(runs * sizeof(float)));
  float* const scales = reinterpret_cast<float*>(memory.data() + table_bytes);
  // About 10,000 bytes of indices a microsecond.
  const double work = static_cast<double>(all_.rows) * static_cast<double>(all_.row_bytes);
  const std::size_t pieces = std::min(blocks, pieces_for(work / 1e4));
  for (std::size_t i = 0; i < count; ++i) {
    sums_->build(x + i * cols_, cols_, words_.data(), places_, all_.row_bytes, memory.data(), scales);
    parallel(pieces, [&](std::size_t piece) {
      const Range range = part_of(blocks, pieces, piece);
      const std::size_t first = range.begin * kSumsLanes, some = (range.end - range.begin) * kSumsLanes;
      const IndexRows rows = rows_from(all_, first, some);
      sums_->multiply(rows, all_.rows - first - rows.rows, memory.data(), scales, y + i * all_.rows + first);
    });
  }
}

}  // namespace dtc
