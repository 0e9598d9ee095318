#include "forms/codebook_matrix.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "forms/pieces.h"
#include "kernels/gemm.h"

namespace dtc {
namespace {

/// Codewords are this far apart, so that whole vectors of them can be read.
std::size_t stride_of(std::size_t block) {
  if (block <= 2) return block;
  return block <= 4 ? 4 : (block + 7) / 8 * 8;
}

/// All 2^bits codewords [2^bits, stride], the last for the indices that have none.
std::vector<float> all_words(const Tensor& codewords, unsigned bits, std::size_t block) {
  const std::size_t stride = stride_of(block), last = static_cast<std::size_t>(codewords.shape[0]) - 1;
  std::vector<float> out((std::size_t{1} << bits) * stride);
  for (std::size_t index = 0; index < std::size_t{1} << bits; ++index) {
    const float* const word = codewords.as<float>() + std::min(index, last) * block;
    std::copy(word, word + block, out.data() + index * stride);
  }
  return out;
}

/// What each byte of indices of `narrow` means, [256, stride].
std::vector<float> byte_words(const Codebook& narrow) {
  const std::size_t indices = 8 / narrow.bits, block = indices * narrow.block, stride = stride_of(block);
  std::vector<float> out(256 * stride);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    for (std::size_t i = 0; i < indices; ++i) {
      const std::size_t index = byte >> (i * narrow.bits) & ((1u << narrow.bits) - 1);
      const float* const word = narrow.words + index * narrow.stride;
      std::copy(word, word + narrow.block, out.data() + byte * stride + i * narrow.block);
    }
  }
  return out;
}

void check(const Tensor& indices, const Tensor& codewords, std::int64_t bits, std::int64_t columns) {
  require(indices, "indices", {Type::u8}, 2);
  require(codewords, "codewords", {Type::f32}, 2);
  require(bits == 1 || bits == 2 || bits == 4 || bits == 8, "bits is " + std::to_string(bits) + ", not 1, 2, 4 or 8");
  require(columns >= 0, "columns is " + std::to_string(columns));
  require(codewords.shape[0] > 0 && codewords.shape[1] > 0, "codewords has shape " + text(codewords.shape));
  const std::int64_t block = codewords.shape[1], blocks = columns / block + (columns % block != 0);
  const std::int64_t bytes = blocks / (8 / bits) + (blocks % (8 / bits) != 0);
  require(indices.shape[1] == bytes, "indices has shape " + text(indices.shape) + ", but " + std::to_string(columns) +
                                         " columns in blocks of " + std::to_string(block) + " with " +
                                         std::to_string(bits) + " bits each are " + std::to_string(bytes) +
                                         " bytes a row");
}

/// Up to how many rows of x are multiplied one by one, rather than with floats that are decoded for all of them: that
/// costs as much as 3 to 6 products with long codewords, and with single floats of 8 bits as much as one.
std::size_t few_rows(const CodebookWeight& weight) {
  if (&weight.kernel() == &codebook_kernels().scalars) return weight.codebook().bits == 8 ? 1 : 3;
  return std::min<std::size_t>(weight.codebook().block, 6);
}

}  // namespace

CodebookWeight::CodebookWeight(const Tensor& indices, const Tensor& codewords, std::int64_t bits,
                               std::int64_t columns) {
  check(indices, codewords, bits, columns);
  rows_ = static_cast<std::size_t>(indices.shape[0]);
  cols_ = static_cast<std::size_t>(columns);
  const auto block = static_cast<std::size_t>(codewords.shape[1]);
  const std::size_t stride = stride_of(block);
  const auto width = static_cast<unsigned>(bits);
  codebook_ = {indices.as<std::uint8_t>(),
               static_cast<std::size_t>(indices.shape[1]),
               width,
               codewords.as<float>(),
               block,
               stride};
  if (stride != block || codewords.shape[0] < std::int64_t{1} << bits) {
    words_ = all_words(codewords, width, block);
    codebook_.words = words_.data();
  }
  // Single bits are faster from the table: 0.21 ms against 0.28 for 4096 x 2048 with AVX2 on Zen 5.
  if (block == 1 && bits > 1 && codebook_kernels().scalars.multiply != nullptr) {
    kernel_ = &codebook_kernels().scalars;
    return;
  }
  kernel_ = &codebook_kernels().words;
  if (bits < 8 && block < 8) {  // a whole byte for an index: of at most 57 KB, and faster whatever the width
    words_ = byte_words(codebook_);
    codebook_.words = words_.data();
    codebook_.bits = 8;
    codebook_.block = block * (8 / width);
    codebook_.stride = stride_of(codebook_.block);
  }
}

std::unique_ptr<Matrix> CodebookMatrix::make(const Tensor& indices, const Tensor& codewords, std::int64_t bits,
                                             std::int64_t columns, std::int64_t accuracy_level) {
  require(accuracy_level == 0 || accuracy_level == 1 || accuracy_level == 4,
          "accuracy_level is " + std::to_string(accuracy_level) + ", but 0, 1 and 4 are possible");
  return std::make_unique<CodebookMatrix>(CodebookWeight(indices, codewords, bits, columns),
                                          static_cast<int>(accuracy_level));
}

CodebookMatrix::CodebookMatrix(CodebookWeight weight, int accuracy_level)
    : Matrix(weight.rows(), weight.cols()),
      weight_(std::move(weight)),
      few_(few_rows(weight_)),
      bytes_(weight_.codebook(), rows(), cols(), accuracy_level) {}

void CodebookMatrix::multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  if (rows() == 0 || count == 0 || bytes_.multiply(x, count, y, parallel)) return;
  if (count <= few_) {
    multiply_few(x, count, y, parallel);
  } else {
    multiply_many(x, count, y, parallel);
  }
}

void CodebookMatrix::multiply_few(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  const Codebook& codebook = weight_.codebook();
  const std::size_t stride =
      codebook.row_bytes * (8 / codebook.bits) * codebook.block + codebook_slack + codebook.stride;
  std::vector<float> padded(count * stride);
  for (std::size_t i = 0; i < count; ++i) std::copy_n(x + i * cols(), cols(), padded.data() + i * stride);

  // About 4000 bytes of indices a microsecond are looked up.
  const double bytes =
      static_cast<double>(count) * static_cast<double>(rows()) * static_cast<double>(codebook.row_bytes);
  const std::size_t pieces = pieces_for(bytes / 4e3);
  parallel(pieces, [&](std::size_t piece) {
    const Range part = rows_of(rows(), pieces, piece);
    Codebook from = codebook;
    from.codes += part.begin * codebook.row_bytes;
    for (std::size_t i = 0; i < count; ++i) {
      weight_.kernel().multiply(from, part.end - part.begin, padded.data() + i * stride, y + i * rows() + part.begin);
    }
  });
}

void CodebookMatrix::multiply_many(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  const Codebook& codebook = weight_.codebook();
  // Decoded floats stay in the nearest cache; with more rows of x, more of them meet x each time it is read.
  const std::size_t tile_rows = count < 32 ? 4 : 16, tile_cols = count < 32 ? 2048 : 1024;
  const std::size_t step = std::max<std::size_t>(tile_cols / codebook.block, 1);  // indices of a tile's row
  const std::size_t wide = std::max<std::size_t>(std::min(step * codebook.block, cols()), 1);
  const std::size_t high = std::max<std::size_t>(tile_rows * tile_cols / wide / 4, 1) * 4;

  const double floats = static_cast<double>(rows()) * static_cast<double>(cols());
  const std::size_t pieces = pieces_for(floats * static_cast<double>(count + 10) / 4e4);
  std::unique_ptr<float[]> tiles(new float[pieces * high * wide]);
  parallel(pieces, [&](std::size_t piece) {
    const Range part = rows_of(rows(), pieces, piece);
    float* const tile = tiles.get() + piece * high * wide;
    for (std::size_t row = part.begin; row < part.end; row += high) {
      const std::size_t some = std::min(high, part.end - row);
      std::size_t first = 0, col = 0;
      do {
        const std::size_t now = std::min(wide, cols() - col);
        for (std::size_t r = 0; r < some; ++r) {
          weight_.kernel().decode(codebook, codebook.codes + (row + r) * codebook.row_bytes, first, now,
                                  tile + r * wide);
        }
        const Gemm gemm = col == 0 ? gemm_kernels().multiply : gemm_kernels().add;
        gemm(x + col, cols(), count, tile, wide, some, now, y + row, rows());
        first += step;
        col += now;
      } while (col < cols());
    }
  });
}

std::unique_ptr<Rows> CodebookRows::make(const Tensor& indices, const Tensor& codewords, std::int64_t bits,
                                         std::int64_t columns) {
  return std::make_unique<CodebookRows>(CodebookWeight(indices, codewords, bits, columns));
}

CodebookRows::CodebookRows(CodebookWeight weight) : Rows(weight.rows(), weight.cols()), weight_(std::move(weight)) {}

void CodebookRows::decode(std::size_t row, float* out) const {
  const Codebook& codebook = weight_.codebook();
  weight_.kernel().decode(codebook, codebook.codes + row * codebook.row_bytes, 0, cols(), out);
}

}  // namespace dtc
