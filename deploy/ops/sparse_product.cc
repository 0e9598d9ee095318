#include "sparse_product.h"

#include <algorithm>
#include <cstdint>
#include <memory>

namespace dtc {
namespace {

constexpr std::size_t kMaxPieces = 8;
constexpr std::size_t kRowCost = 8;        // of a row, in values
constexpr std::size_t kPieceCost = 40000;  // about 20 us at one column a batch
constexpr std::size_t kPanel = 128;        // rows whose sums are kept in a tile until they are transposed

// What multiplying the rows before `row` costs, in values.
std::size_t cost_before(const SparseWeight& weight, std::size_t row) {
  return weight.arrays.row_begins[row] + kRowCost * row;
}

std::size_t pieces_of(const SparseWeight& weight, std::size_t vectors) {
  const std::size_t cost = cost_before(weight, weight.rows) * vectors;
  return std::clamp<std::size_t>(cost / kPieceCost, 1, kMaxPieces);
}

// The rows of a piece: parts of equal cost, not of as many rows, as rows may be empty or full.
Range rows_of(const SparseWeight& weight, std::size_t pieces, std::size_t piece) {
  const auto bound = [&](std::size_t at) {
    const std::size_t cost = part_of(cost_before(weight, weight.rows), pieces, at).begin;
    std::size_t low = 0, high = weight.rows;
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      if (cost_before(weight, middle) < cost)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  };
  return {bound(piece), piece + 1 == pieces ? weight.rows : bound(piece + 1)};
}

// The columns of x, in tiles [cols, width]; the last tile is narrower if fewer vectors hold what is left.
class Tiles {
 public:
  Tiles(const float* x, std::size_t count, std::size_t cols, const CsrKernels& kernels, const Parallel& parallel)
      : cols_(cols), vectors_((count + kCsrLanes - 1) / kCsrLanes) {
    tiles_ = (vectors_ + kCsrMaxVectors - 1) / kCsrMaxVectors;
    storage_.reset(new float[vectors_ * kCsrLanes * cols + kAlign]);
    const std::size_t past = reinterpret_cast<std::uintptr_t>(storage_.get()) / sizeof(float) % kAlign;
    data_ = storage_.get() + (kAlign - past) % kAlign;
    const std::size_t pieces = std::clamp<std::size_t>(vectors_ * cols / 8192, 1, kMaxPieces);
    parallel(pieces, [&](std::size_t piece) { fill(x, count, part_of(cols, pieces, piece), kernels); });
  }

  std::size_t tiles() const { return tiles_; }
  std::size_t vectors(std::size_t tile) const { return vectors_of(tile).end - vectors_of(tile).begin; }
  std::size_t first_column(std::size_t tile) const { return vectors_of(tile).begin * kCsrLanes; }
  const float* tile(std::size_t tile) const { return data_ + first_column(tile) * cols_; }

 private:
  static constexpr std::size_t kAlign = 16;  // a cache line

  Range vectors_of(std::size_t tile) const { return part_of(vectors_, tiles_, tile); }

  void fill(const float* x, std::size_t count, Range part, const CsrKernels& kernels) const {
    for (std::size_t tile = 0; tile < tiles_; ++tile) {
      const std::size_t width = vectors(tile) * kCsrLanes;
      float* const to = data_ + first_column(tile) * cols_ + part.begin * width;
      for (std::size_t lane = 0; lane < width; lane += kCsrLanes) {
        // Behind the end of the batch the last one stands in; what comes of it is not read.
        const float* from[kCsrLanes];
        for (std::size_t j = 0; j < kCsrLanes; ++j)
          from[j] = x + std::min(first_column(tile) + lane + j, count - 1) * cols_ + part.begin;
        kernels.transpose(from, part.end - part.begin, to + lane, width);
      }
    }
  }

  std::size_t cols_, vectors_, tiles_;
  std::unique_ptr<float[]> storage_;
  float* data_;
};

// Rows of the weight times one tile.
struct Panel {
  alignas(64) float sums[kPanel * kCsrMaxVectors * kCsrLanes];
  std::uint32_t from[kPanel], to[kPanel];

  void multiply(const SparseWeight& weight, Range rows, const float* x, std::size_t vectors,
                const CsrKernels& kernels) {
    const CsrArrays& a = weight.arrays;
    const std::size_t count = rows.end - rows.begin, width = vectors * kCsrLanes;
    std::fill_n(sums, count * width, 0.0f);
    std::copy_n(a.row_begins + rows.begin, count, from);
    if (a.block_counts == nullptr) {
      std::copy_n(a.row_begins + rows.begin + 1, count, to);
      kernels.accumulate[vectors - 1](a, from, to, count, x, sums);
      return;
    }
    for (std::size_t block = 0; block < a.blocks; ++block) {
      const std::uint16_t* const counts = a.block_counts + rows.begin * a.blocks + block;
      for (std::size_t row = 0; row < count; ++row) to[row] = from[row] + counts[row * a.blocks];
      const float* const origin = a.relative ? x + block * kCsrBlock * width : x;
      kernels.accumulate[vectors - 1](a, from, to, count, origin, sums);
      std::copy_n(to, count, from);
    }
  }

  // y[column, row] of the batch's columns from sums[row, column].
  void write(Range rows, std::size_t width, std::size_t columns, float* y, std::size_t stride,
             const CsrKernels& kernels) const {
    const std::size_t count = rows.end - rows.begin;
    std::size_t row = 0;
    for (; row + kCsrLanes <= count; row += kCsrLanes) {
      const float* lines[kCsrLanes];
      for (std::size_t j = 0; j < kCsrLanes; ++j) lines[j] = sums + (row + j) * width;
      kernels.transpose(lines, columns, y + rows.begin + row, stride);
    }
    for (; row < count; ++row)
      for (std::size_t column = 0; column < columns; ++column)
        y[column * stride + rows.begin + row] = sums[row * width + column];
  }
};

void multiply_tiled(const SparseWeight& weight, const float* x, std::size_t count, float* y, const Parallel& parallel,
                    const CsrKernels& kernels) {
  const Tiles tiles(x, count, weight.cols, kernels, parallel);
  const std::size_t pieces = pieces_of(weight, (count + kCsrLanes - 1) / kCsrLanes);
  parallel(pieces, [&](std::size_t piece) {
    const Range rows = rows_of(weight, pieces, piece);
    Panel panel;
    for (std::size_t begin = rows.begin; begin < rows.end; begin += kPanel) {
      const Range some = {begin, std::min(begin + kPanel, rows.end)};
      for (std::size_t tile = 0; tile < tiles.tiles(); ++tile) {
        const std::size_t width = tiles.vectors(tile) * kCsrLanes, first = tiles.first_column(tile);
        panel.multiply(weight, some, tiles.tile(tile), tiles.vectors(tile), kernels);
        panel.write(some, width, std::min(width, count - first), y + first * weight.rows, weight.rows, kernels);
      }
    }
  });
}

}  // namespace

float value_of(const SparseWeight& weight, std::size_t at) {
  if (weight.value == CsrValue::f16) return csr_half(static_cast<const std::uint16_t*>(weight.arrays.values)[at]);
  return static_cast<const float*>(weight.arrays.values)[at];
}

void multiply(const SparseWeight& weight, const float* x, std::size_t count, float* y, const Parallel& parallel) {
  if (count == 0 || weight.rows == 0) return;
  const CsrKernels& kernels = csr_kernels(weight.value, weight.column);
  if (count > 2) return multiply_tiled(weight, x, count, y, parallel, kernels);
  const std::size_t pieces = pieces_of(weight, count);
  parallel(pieces, [&](std::size_t piece) {
    const Range rows = rows_of(weight, pieces, piece);
    for (std::size_t begin = rows.begin; begin < rows.end; begin += kPanel)
      for (std::size_t i = 0; i < count; ++i)
        kernels.multiply(weight.arrays, x + i * weight.cols, begin, std::min(begin + kPanel, rows.end),
                         y + i * weight.rows);
  });
}

}  // namespace dtc
