#include "forms/binary_matrix.h"

#include <algorithm>
#include <cstring>

namespace dtc {
namespace {

/// Memory for the tables of as many columns as are handled at a time: no more than stays in a core's own cache.
constexpr std::size_t kTableBytes = 512 * 1024;
/// Codes that meet all those columns before the next.
constexpr std::size_t kCodeBytes = 128 * 1024;

/// What is decoded at a time: 16 KiB of weights, for so many columns at most.
constexpr std::size_t kDecodedPositions = 16, kDecodedColumns = 96;

/// Runs of at most `longest` byte positions, none of which crosses from a group to another.
std::vector<LutSpan> spans_of(const BinaryShape& shape, std::size_t longest) {
  std::vector<LutSpan> spans;
  if (shape.rows == 0) return spans;
  for (std::size_t group = 0; group < shape.groups; ++group) {
    const std::size_t begin = group * shape.group_bytes;
    const std::size_t end = std::min(begin + shape.group_bytes, shape.positions);
    for (std::size_t b = begin; b < end;) {
      const std::size_t length = std::min(longest, end - b);
      spans.push_back({b, b + length, group});
      b += length;
    }
  }
  return spans;
}

/// Runs of spans of no more than `positions` byte positions, but for those of one span.
std::vector<Range> runs_of(const std::vector<LutSpan>& spans, std::size_t positions) {
  std::vector<Range> runs;
  for (std::size_t s = 0; s < spans.size(); ++s) {
    if (s == 0 || spans[s].end - spans[runs.back().begin].begin > positions) runs.push_back({s, s});
    runs.back().end = s + 1;
  }
  return runs;
}

}  // namespace

std::unique_ptr<Matrix> BinaryMatrix::make(const Tensor& codes, const Tensor& alphas, std::int64_t bits,
                                           std::int64_t in_features, std::int64_t group_size,
                                           std::int64_t accuracy_level) {
  const BinaryShape shape = blocked_shape(codes, alphas, bits, in_features, group_size);
  require(accuracy_level == 0 || accuracy_level == 1 || accuracy_level == 4,
          "accuracy_level is " + std::to_string(accuracy_level) + ", but 0, 1 and 4 are possible");
  return std::unique_ptr<Matrix>(new BinaryMatrix(shape, codes, alphas, static_cast<int>(accuracy_level)));
}

BinaryMatrix::BinaryMatrix(const BinaryShape& shape, const Tensor& codes, const Tensor& alphas, int accuracy_level)
    : Matrix(shape.rows, shape.cols),
      shape_(shape),
      codes_(codes.as<std::uint8_t>()),
      alphas_(alphas.as<std::uint8_t>()),
      kernel_(lut_kernel(accuracy_level)),
      tile_(sign_tile_kernel()),
      least_decoded_(least_decoded()),
      spans_(spans_of(shape, kernel_.span_bytes)),
      runs_(runs_of(spans_, kNearBytes / (kernel_.table_bytes * kernel_.columns))),
      lut_{shape.bits, shape.masked, shape.constant, shape.half, shape.positions, spans_.data(), spans_.size()},
      tiles_(shape, accuracy_level, kernel_) {
  if (!spans_.empty() && shape.rows % kLutRows != 0) copy_last_block();
}

void BinaryMatrix::copy_last_block() {
  const std::size_t left = shape_.rows % kLutRows, whole = shape_.rows - left;
  last_codes_.resize(shape_.planes() * shape_.positions * kLutRows);
  for (std::size_t plane = 0; plane < shape_.planes(); ++plane) {
    const std::uint8_t* from = codes_ + (plane * shape_.rows + whole) * shape_.positions;
    std::uint8_t* to = last_codes_.data() + plane * shape_.positions * kLutRows;
    for (std::size_t b = 0; b < shape_.positions; ++b) std::memcpy(to + b * kLutRows, from + b * left, left);
  }
  const std::size_t size = shape_.half ? 2 : 4, runs = shape_.terms() * shape_.groups;
  last_alphas_.resize(runs * kLutRows * size);
  for (std::size_t run = 0; run < runs; ++run) {
    const std::uint8_t* from = alphas_ + (run * shape_.rows + whole) * size;
    std::memcpy(last_alphas_.data() + run * kLutRows * size, from, left * size);
  }
}

LutBlock BinaryMatrix::block(std::size_t index, std::size_t plane) const {
  const std::size_t first = index * kLutRows, size = shape_.half ? 2 : 4;
  const std::size_t length = shape_.positions * kLutRows;
  if (first + kLutRows > shape_.rows) {
    const std::uint8_t* codes = last_codes_.data() + plane * length;
    const std::size_t term_stride = shape_.groups * kLutRows;
    return {codes, length, last_alphas_.data() + plane * term_stride * size, term_stride, kLutRows, codes};
  }
  const std::size_t plane_stride = shape_.rows * shape_.positions, term_stride = shape_.groups * shape_.rows;
  const std::uint8_t* codes = codes_ + plane * plane_stride + first * shape_.positions;
  const std::uint8_t* next = first + 3 * kLutRows <= shape_.rows ? codes + 2 * length : codes;
  return {codes, plane_stride, alphas_ + (plane * term_stride + first) * size, term_stride, shape_.rows, next};
}

/// The least count of columns for which decoding pays, by the cycles that it and the lookups take.
std::size_t BinaryMatrix::least_decoded() const {
  constexpr std::size_t never = static_cast<std::size_t>(-1);
  if (tile_ == nullptr) return never;
  const double planes = static_cast<double>(shape_.planes());
  const double saved = planes * kernel_.cycles - tile_->column_cycles;
  return saved > 0.0 ? static_cast<std::size_t>(planes * tile_->decode_cycles / saved) + 1 : never;
}

void BinaryMatrix::multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  if (rows() == 0 || count == 0) return;
  if (cols() == 0) {
    std::fill(y, y + count * rows(), 0.0F);
  } else if (const int digits = tiles_.digits_for(x, count); digits != 0) {
    tiles_.multiply(
        lut_, [this](std::size_t index) { return block(index, 0); }, x, count, digits, y, parallel);
  } else if (count < least_decoded_) {
    look_up(x, count, y, parallel);
  } else {
    multiply_decoded(x, count, y, parallel);
  }
}

void BinaryMatrix::look_up(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  const std::size_t fit = std::max(kernel_.columns, kTableBytes / (shape_.positions * kernel_.table_bytes));
  const std::size_t tiles = (count + fit - 1) / fit, tile = (count + tiles - 1) / tiles;
  const std::size_t pairs = (rows() + 2 * kLutRows - 1) / (2 * kLutRows);
  BinaryColumns columns(kernel_, spans_, cols(), tile);
  for (std::size_t first = 0; first < count; first += tile) {
    columns.build(x + first * cols(), std::min(tile, count - first), parallel);
    const std::size_t steps = 2 * pairs * shape_.positions * shape_.planes() * columns.count();
    const std::size_t pieces = pieces_of_steps(steps, pairs);
    parallel(pieces,
             [&](std::size_t piece) { look_up_pairs(part_of(pairs, pieces, piece), columns, y + first * rows()); });
  }
}

void BinaryMatrix::look_up_pairs(const Range& pairs, const BinaryColumns& columns, float* y) const {
  if (columns.count() <= kernel_.columns) {
    // Few columns need the codes once: a plane is read from begin to end. A mask is applied to all planes together.
    const std::size_t passes = shape_.masked ? 1 : shape_.bits;
    for (std::size_t pass = 0; pass < passes; ++pass) {
      LutCodes codes = lut_;
      if (!shape_.masked) codes.bits = 1;
      codes.constant = shape_.constant && pass + 1 == passes;  // lies after the last plane's coefficients
      const BinaryColumns::Some all = columns.some({0, columns.count()}, 0);
      for (std::size_t pair = pairs.begin; pair < pairs.end; ++pair) {
        look_up_blocks(codes, 2 * pair, pass, all, pass != 0, y);
      }
    }
    return;
  }
  // Else codes stay in the core's own cache while all columns meet them, and tables of some columns in the nearest.
  const std::size_t turns = (columns.count() + kernel_.columns - 1) / kernel_.columns;
  for (const Range& run : runs_) {
    LutCodes codes = lut_;
    codes.spans = lut_.spans + run.begin;
    codes.span_count = run.end - run.begin;
    const std::size_t positions = spans_[run.end - 1].end - spans_[run.begin].begin;
    const std::size_t step = std::max<std::size_t>(1, kCodeBytes / (2 * kLutRows * positions * shape_.planes()));
    for (std::size_t begin = pairs.begin; begin < pairs.end; begin += step) {
      const std::size_t end = std::min(begin + step, pairs.end);
      for (std::size_t turn = 0; turn < turns; ++turn) {
        const Range range = part_of(columns.count(), turns, turn);
        const BinaryColumns::Some some = columns.some(range, run.begin);
        float* const to = y + range.begin * rows();
        for (std::size_t pair = begin; pair < end; ++pair) look_up_blocks(codes, 2 * pair, 0, some, run.begin != 0, to);
      }
    }
  }
}

void BinaryMatrix::look_up_blocks(const LutCodes& codes, std::size_t first, std::size_t plane,
                                  const BinaryColumns::Some& columns, bool adds, float* y) const {
  const std::size_t begin = first * kLutRows;
  const std::size_t blocks = begin + kLutRows < rows() ? 2 : 1;
  LutBlock both[2] = {block(first, plane), {}};
  if (blocks == 2) both[1] = block(first + 1, plane);
  const std::size_t height = rows() - begin;
  if (height >= blocks * kLutRows) {
    kernel_.multiply(codes, both, blocks, columns.columns, columns.count, {y + begin, rows(), adds});
    return;
  }
  float out[2 * kLutColumns * kLutRows];
  kernel_.multiply(codes, both, blocks, columns.columns, columns.count, {out, blocks * kLutRows, false});
  for (std::size_t c = 0; c < columns.count; ++c) {
    const float* from = out + c * blocks * kLutRows;
    float* to = y + c * rows() + begin;
    for (std::size_t r = 0; r < height; ++r) to[r] = adds ? to[r] + from[r] : from[r];
  }
}

void BinaryMatrix::multiply_decoded(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  const std::size_t blocks = (rows() + kLutRows - 1) / kLutRows;
  // A decoded column takes about the time of four lookups.
  const std::size_t pieces = pieces_of_steps(4 * blocks * shape_.positions * count, blocks);
  parallel(pieces, [&](std::size_t piece) {
    const Range part = part_of(blocks, pieces, piece);
    for (std::size_t first = 0; first < count; first += kDecodedColumns) {
      const std::size_t width = std::min(kDecodedColumns, count - first);
      for (std::size_t index = part.begin; index < part.end; ++index) {
        multiply_block(index, x + first * cols(), width, y + first * rows());
      }
    }
  });
}

void BinaryMatrix::multiply_block(std::size_t index, const float* x, std::size_t count, float* y) const {
  const LutBlock rows32 = block(index, 0);
  float weights[kDecodedPositions * 8 * kLutRows], out[kDecodedColumns * kLutRows];
  std::fill(out, out + count * kLutRows, 0.0F);
  for (const LutSpan& span : spans_) {
    for (std::size_t begin = span.begin; begin < span.end; begin += kDecodedPositions) {
      const std::size_t end = std::min(begin + kDecodedPositions, span.end);
      tile_->decode(lut_, rows32, begin, end, span.group, weights);
      tile_->multiply(weights, std::min(8 * end, cols()) - 8 * begin, x + 8 * begin, cols(), count, out);
    }
  }
  const std::size_t first = index * kLutRows, height = std::min(rows() - first, kLutRows);
  for (std::size_t i = 0; i < count; ++i) std::copy_n(out + i * kLutRows, height, y + i * rows() + first);
}

}  // namespace dtc
