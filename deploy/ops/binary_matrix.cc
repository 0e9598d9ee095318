#include "binary_matrix.h"

#include <algorithm>
#include <cstring>

namespace dtc {
namespace {

/// Memory for the tables of as many columns as are handled at a time: no more than stays in a core's own cache.
constexpr std::size_t kTableBytes = 256 * 1024;

/// A piece of work has at least so many steps, each of one byte position, plane, block and column: 20 us and more.
constexpr std::size_t kPieceSteps = 16384;
/// A table is made from 8 inputs in about the time of so many steps.
constexpr std::size_t kBuildSteps = 4;
constexpr std::size_t kMostPieces = 8;

/// What is decoded at a time: 16 KiB of weights, for so many columns at most.
constexpr std::size_t kDecodedPositions = 16, kDecodedColumns = 96;

std::size_t pieces_of(std::size_t steps, std::size_t units) {
  return std::max<std::size_t>(1, std::min({steps / kPieceSteps, units, kMostPieces}));
}

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

}  // namespace

/// The tables of some columns of x.
class BinaryMatrix::Columns {
 public:
  Columns(const BinaryMatrix& matrix, std::size_t most)
      : matrix_(matrix),
        table_bytes_(matrix.shape_.positions * matrix.kernel_.table_bytes),
        memory_(new unsigned char[most * table_bytes_ + kAlignment]),
        factors_(new LutFactors[most * matrix.spans_.size()]),
        padded_(matrix.cols() % 8 == 0 ? nullptr : new float[most * matrix.shape_.positions * 8]) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
    tables_ = memory_.get() + (kAlignment - address % kAlignment) % kAlignment;
  }

  void build(const float* x, std::size_t count, const Parallel& parallel) {
    count_ = count;
    const std::size_t steps = count * matrix_.shape_.positions * kBuildSteps;
    const std::size_t pieces = pieces_of(steps, count);
    parallel(pieces, [&](std::size_t piece) {
      const Range range = part_of(count, pieces, piece);
      for (std::size_t i = range.begin; i < range.end; ++i) build_one(x + i * matrix_.cols(), i);
    });
  }

  std::size_t count() const { return count_; }
  LutColumn operator[](std::size_t i) const {
    return {tables_ + i * table_bytes_, factors_.get() + i * matrix_.spans_.size()};
  }

 private:
  static constexpr std::size_t kAlignment = 64;

  void build_one(const float* x, std::size_t i) {
    const std::vector<LutSpan>& spans = matrix_.spans_;
    if (padded_ != nullptr) {
      const std::size_t cols = matrix_.cols(), width = matrix_.shape_.positions * 8;
      float* whole = padded_.get() + i * width;
      std::copy(x, x + cols, whole);
      std::fill(whole + cols, whole + width, 0.0F);
      x = whole;
    }
    matrix_.kernel_.build(x, spans.data(), spans.size(), tables_ + i * table_bytes_, factors_.get() + i * spans.size());
  }

  const BinaryMatrix& matrix_;
  std::size_t table_bytes_, count_ = 0;
  std::unique_ptr<unsigned char[]> memory_;
  unsigned char* tables_;
  std::unique_ptr<LutFactors[]> factors_;
  std::unique_ptr<float[]> padded_;  ///< the columns filled up to whole bytes, where they are not
};

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
      least_decoded_(least_decoded(accuracy_level)),
      spans_(spans_of(shape, kernel_.span_bytes)),
      lut_{shape.bits, shape.masked, shape.constant, shape.half, shape.positions, spans_.data(), spans_.size()} {
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

LutBlock BinaryMatrix::block(std::size_t index) const {
  const std::size_t first = index * kLutRows;
  const std::size_t length = shape_.positions * kLutRows;
  if (first + kLutRows > shape_.rows) {
    const std::uint8_t* codes = last_codes_.data();
    return {codes, length, last_alphas_.data(), shape_.groups * kLutRows, kLutRows, codes};
  }
  const std::uint8_t* codes = codes_ + first * shape_.positions;
  const std::uint8_t* next = first + 3 * kLutRows <= shape_.rows ? codes + 2 * length : codes;
  return {codes,
          shape_.rows * shape_.positions,
          alphas_ + first * (shape_.half ? 2 : 4),
          shape_.groups * shape_.rows,
          shape_.rows,
          next};
}

/// The least count of columns for which decoding pays, by the cycles that it and the lookups take.
std::size_t BinaryMatrix::least_decoded(int accuracy_level) const {
  constexpr std::size_t never = static_cast<std::size_t>(-1);
  if (tile_ == nullptr) return never;
  const double planes = static_cast<double>(shape_.planes());
  const double saved = planes * lut_cycles(accuracy_level) - tile_->column_cycles;
  return saved > 0.0 ? static_cast<std::size_t>(planes * tile_->decode_cycles / saved) + 1 : never;
}

void BinaryMatrix::multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  if (rows() == 0 || count == 0) return;
  if (cols() == 0) {
    std::fill(y, y + count * rows(), 0.0F);
  } else if (count < least_decoded_) {
    look_up(x, count, y, parallel);
  } else {
    multiply_decoded(x, count, y, parallel);
  }
}

void BinaryMatrix::look_up(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  const std::size_t fit = std::max<std::size_t>(2, kTableBytes / (shape_.positions * kernel_.table_bytes));
  const std::size_t tiles = (count + fit - 1) / fit;
  const std::size_t pairs = (rows() + 2 * kLutRows - 1) / (2 * kLutRows);
  Columns columns(*this, (count + tiles - 1) / tiles);
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    const Range range = part_of(count, tiles, tile);
    columns.build(x + range.begin * cols(), range.end - range.begin, parallel);
    const std::size_t steps = 2 * pairs * shape_.positions * shape_.planes() * columns.count();
    const std::size_t pieces = pieces_of(steps, pairs);
    parallel(pieces, [&](std::size_t piece) {
      const Range part = part_of(pairs, pieces, piece);
      for (std::size_t pair = part.begin; pair < part.end; ++pair) {
        look_up_blocks(2 * pair, columns, y + range.begin * rows());
      }
    });
  }
}

void BinaryMatrix::look_up_blocks(std::size_t first, const Columns& columns, float* y) const {
  const std::size_t begin = first * kLutRows;
  const std::size_t blocks = begin + kLutRows < rows() ? 2 : 1;
  const std::size_t height = std::min(rows() - begin, blocks * kLutRows);
  LutBlock both[2] = {block(first), {}};
  if (blocks == 2) both[1] = block(first + 1);
  for (std::size_t i = 0; i < columns.count(); i += kernel_.columns) {
    const std::size_t width = std::min(kernel_.columns, columns.count() - i);
    LutColumn some[kLutColumns] = {};
    for (std::size_t c = 0; c < width; ++c) some[c] = columns[i + c];
    float out[2 * kLutColumns * kLutRows];
    kernel_.multiply(lut_, both, blocks, some, width, out);
    for (std::size_t c = 0; c < width; ++c) {
      std::copy_n(out + c * blocks * kLutRows, height, y + (i + c) * rows() + begin);
    }
  }
}

void BinaryMatrix::multiply_decoded(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  const std::size_t blocks = (rows() + kLutRows - 1) / kLutRows;
  // A decoded column takes about the time of four lookups.
  const std::size_t pieces = pieces_of(4 * blocks * shape_.positions * count, blocks);
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
  const LutBlock rows32 = block(index);
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
