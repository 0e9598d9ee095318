#include "forms/sparse_product.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include "kernels/half.h"

namespace dtc {
namespace {

constexpr std::size_t kPanel = 128;  // rows whose sums are kept until they are transposed
constexpr std::size_t kMaxPieces = 8;
constexpr std::size_t kRowCost = 8;        // of a row, in values
constexpr std::size_t kPieceCost = 40000;  // values in 10 to 20 us, at one column of a batch

// What multiplying the panels before `panel` costs, in values.
std::size_t cost_before(const SparseWeight& weight, std::size_t panel) {
  const std::size_t row = std::min(panel * kPanel, weight.rows);
  return weight.arrays.row_begins[row] + kRowCost * row;
}

std::size_t panels_of(const SparseWeight& weight) { return (weight.rows + kPanel - 1) / kPanel; }

std::size_t pieces_of(const SparseWeight& weight, std::size_t passes) {
  const std::size_t cost = cost_before(weight, panels_of(weight)) * passes;
  return std::clamp<std::size_t>(cost / kPieceCost, 1, kMaxPieces);
}

// The panels of a piece: parts of equal cost, not of as many rows, as rows may be empty or full.
Range panels_of(const SparseWeight& weight, std::size_t pieces, std::size_t piece) {
  const std::size_t panels = panels_of(weight), total = cost_before(weight, panels);
  const auto bound = [&](std::size_t at) {
    const std::size_t cost = at == pieces ? total : part_of(total, pieces, at).begin;
    std::size_t low = 0, high = panels;
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      if (cost_before(weight, middle) < cost)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  };
  return {bound(piece), bound(piece + 1)};
}

// Calls body(first row, rows, scratch) for every panel of the weight, in pieces of about equal cost. A value takes as
// long as in `passes` products with one column.
template <typename Body>
void for_each_panel(const SparseWeight& weight, std::size_t passes, const Parallel& parallel, const Body& body) {
  const std::size_t pieces = pieces_of(weight, passes);
  // What is not written out costs nothing: see CsrColumn.
  const std::size_t width = weight.column == CsrColumn::block_u16 ? 2 : weight.column == CsrColumn::block_u32 ? 4 : 0;
  const std::size_t bytes = width * (weight.longest_row + kCsrSlack);
  const std::unique_ptr<char[]> scratch(new char[bytes * pieces]);
  parallel(pieces, [&](std::size_t piece) {
    const Range panels = panels_of(weight, pieces, piece);
    for (std::size_t panel = panels.begin; panel < panels.end; ++panel) {
      const std::size_t begin = panel * kPanel;
      body(begin, std::min(kPanel, weight.rows - begin), scratch.get() + piece * bytes);
    }
  });
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

// y[column, row] of the batch's columns from sums[row, column], for `rows` rows.
void write(const float* sums, std::size_t width, std::size_t rows, std::size_t columns, float* y, std::size_t stride,
           const CsrKernels& kernels) {
  std::size_t row = 0;
  for (; row + kCsrLanes <= rows; row += kCsrLanes) {
    const float* lines[kCsrLanes];
    for (std::size_t j = 0; j < kCsrLanes; ++j) lines[j] = sums + (row + j) * width;
    kernels.transpose(lines, columns, y + row, stride);
  }
  for (; row < rows; ++row)
    for (std::size_t column = 0; column < columns; ++column) y[column * stride + row] = sums[row * width + column];
}

void multiply_tiles(const SparseWeight& weight, const float* x, std::size_t count, float* y, const Parallel& parallel,
                    const CsrKernels& kernels) {
  const Tiles tiles(x, count, weight.cols, kernels, parallel);
  const auto body = [&](std::size_t begin, std::size_t rows, void* scratch) {
    alignas(64) float sums[kPanel * kCsrMaxVectors * kCsrLanes];
    for (std::size_t tile = 0; tile < tiles.tiles(); ++tile) {
      const std::size_t vectors = tiles.vectors(tile), width = vectors * kCsrLanes, first = tiles.first_column(tile);
      kernels.accumulate[vectors - 1](weight.arrays, tiles.tile(tile), begin, rows, sums, scratch);
      write(sums, width, rows, std::min(width, count - first), y + first * weight.rows + begin, weight.rows, kernels);
    }
  };
  for_each_panel(weight, 2 + count / kCsrLanes, parallel, body);
}

}  // namespace

float value_of(const SparseWeight& weight, std::size_t at) {
  if (weight.value == CsrValue::f16) return float_of_half(static_cast<const std::uint16_t*>(weight.arrays.values)[at]);
  return static_cast<const float*>(weight.arrays.values)[at];
}

void multiply(const SparseWeight& weight, const float* x, std::size_t count, float* y, const Parallel& parallel) {
  if (count == 0 || weight.rows == 0) return;
  const CsrKernels& kernels = csr_kernels(weight.value, weight.column);
  if (count > 1) return multiply_tiles(weight, x, count, y, parallel, kernels);
  for_each_panel(weight, 1, parallel, [&](std::size_t begin, std::size_t rows, void* scratch) {
    kernels.multiply(weight.arrays, x, begin, rows, y, scratch);
  });
}

}  // namespace dtc
