// Codewords looked up in a table, on any vector type. Each file of an instruction set defines, in an anonymous
// namespace and before including this, `One`, `Two`, `Four` and `Many`: vectors for codewords of so many floats, with
// `Type`, `lanes` (1, 2, 4, and for Many 4 or 8) and the operations used below. Nothing here has external linkage.
#ifndef DTC_KERNELS_CODEBOOK_IMPL_H_
#define DTC_KERNELS_CODEBOOK_IMPL_H_

#include <cstddef>
#include <cstdint>

#include "kernels/codebook.h"

namespace dtc {
namespace {

template <unsigned bits>
std::size_t index_of(const std::uint8_t* codes, std::size_t i) {
  constexpr std::size_t each = 8 / bits;
  if constexpr (each == 1) return codes[i];
  return codes[i / each] >> (i % each * bits) & ((1u << bits) - 1);
}

/// How far apart codewords are: known when compiling where `Stride` is not 0.
template <std::size_t Stride>
std::size_t stride_of(const Codebook& b) {
  return Stride == 0 ? b.stride : Stride;
}

/// X rows of x with W rows of indices: a codeword is added to a sum as one vector, or as several where it is long.
template <class Word, std::size_t Stride, unsigned bits, std::size_t X, std::size_t W>
void codebook_tile(const Codebook& b, const float* x, std::size_t x_stride, float* y, std::size_t y_stride) {
  const std::size_t stride = stride_of<Stride>(b);
  typename Word::Type sums[X][W];
  for (std::size_t a = 0; a < X; ++a) {
    for (std::size_t j = 0; j < W; ++j) sums[a][j] = Word::zero();
  }
  for (std::size_t i = 0; i < b.row_bytes * (8 / bits); ++i) {
    const float* words[W];
    for (std::size_t j = 0; j < W; ++j) words[j] = b.words + index_of<bits>(b.codes + j * b.row_bytes, i) * stride;
    for (std::size_t k = 0; k < stride; k += Word::lanes) {
      for (std::size_t a = 0; a < X; ++a) {
        const typename Word::Type of_x = Word::load(x + a * x_stride + i * b.block + k);
        for (std::size_t j = 0; j < W; ++j) {
          sums[a][j] = Word::multiply_add(of_x, Word::load(words[j] + k), sums[a][j]);
        }
      }
    }
  }
  for (std::size_t a = 0; a < X; ++a) {
    for (std::size_t j = 0; j < W; ++j) y[a * y_stride + j] = Word::sum(sums[a][j]);
  }
}

template <class Word, std::size_t Stride, unsigned bits, std::size_t X, std::size_t W>
void codebook_rows(Codebook b, std::size_t rows, const float* x, std::size_t x_stride, float* y, std::size_t y_stride) {
  for (; rows >= W; rows -= W, b.codes += W * b.row_bytes, y += W) {
    codebook_tile<Word, Stride, bits, X, W>(b, x, x_stride, y, y_stride);
  }
  for (; rows > 0; --rows, b.codes += b.row_bytes, ++y)
    codebook_tile<Word, Stride, bits, X, 1>(b, x, x_stride, y, y_stride);
}

template <class Word, std::size_t Stride, unsigned bits>
void codebook_counts_of(const Codebook& b, std::size_t rows, const float* x, std::size_t x_stride, std::size_t count,
                        float* y, std::size_t y_stride) {
  static_assert(codebook_counts == 4);
  switch (count) {
    case 1:
      return codebook_rows<Word, Stride, bits, 1, 8>(b, rows, x, x_stride, y, y_stride);
    case 2:
      return codebook_rows<Word, Stride, bits, 2, 4>(b, rows, x, x_stride, y, y_stride);
    case 3:
      return codebook_rows<Word, Stride, bits, 3, 2>(b, rows, x, x_stride, y, y_stride);
    default:
      return codebook_rows<Word, Stride, bits, 4, 2>(b, rows, x, x_stride, y, y_stride);
  }
}

void codebook_multiply(const Codebook& b, std::size_t rows, const float* x, std::size_t x_stride, std::size_t count,
                       float* y, std::size_t y_stride) {
  if (b.bits == 1) return codebook_counts_of<Many, 0, 1>(b, rows, x, x_stride, count, y, y_stride);
  if (b.bits == 2) return codebook_counts_of<Many, 0, 2>(b, rows, x, x_stride, count, y, y_stride);
  if (b.bits == 4) return codebook_counts_of<Many, 0, 4>(b, rows, x, x_stride, count, y, y_stride);
  if (b.stride == 1) return codebook_counts_of<One, 1, 8>(b, rows, x, x_stride, count, y, y_stride);
  if (b.stride == 2) return codebook_counts_of<Two, 2, 8>(b, rows, x, x_stride, count, y, y_stride);
  if (b.stride == 4) return codebook_counts_of<Four, 4, 8>(b, rows, x, x_stride, count, y, y_stride);
  if (b.stride == 8) return codebook_counts_of<Many, 8, 8>(b, rows, x, x_stride, count, y, y_stride);
  return codebook_counts_of<Many, 0, 8>(b, rows, x, x_stride, count, y, y_stride);
}

/// Whole vectors are written, each over what the one before wrote too much, as long as they stay within out.
template <class Word, std::size_t Stride, unsigned bits>
void decode_words(const Codebook& b, const std::uint8_t* codes, std::size_t i, std::size_t floats, float* out) {
  const std::size_t stride = stride_of<Stride>(b), block = Stride == 1 || Stride == 2 ? Stride : b.block;
  for (; floats >= stride; ++i, floats -= block, out += block) {
    const float* const word = b.words + index_of<bits>(codes, i) * stride;
    for (std::size_t k = 0; k < stride; k += Word::lanes) Word::store(out + k, Word::load(word + k));
  }
  for (; floats > 0; ++i) {
    const float* const word = b.words + index_of<bits>(codes, i) * stride;
    const std::size_t some = floats < block ? floats : block;
    for (std::size_t k = 0; k < some; ++k) out[k] = word[k];
    out += some;
    floats -= some;
  }
}

void codebook_decode(const Codebook& b, const std::uint8_t* codes, std::size_t first, std::size_t floats, float* out) {
  if (b.bits == 1) return decode_words<Many, 0, 1>(b, codes, first, floats, out);
  if (b.bits == 2) return decode_words<Many, 0, 2>(b, codes, first, floats, out);
  if (b.bits == 4) return decode_words<Many, 0, 4>(b, codes, first, floats, out);
  if (b.stride == 1) return decode_words<One, 1, 8>(b, codes, first, floats, out);
  if (b.stride == 2) return decode_words<Two, 2, 8>(b, codes, first, floats, out);
  if (b.stride == 4) return decode_words<Four, 4, 8>(b, codes, first, floats, out);
  if (b.stride == 8) return decode_words<Many, 8, 8>(b, codes, first, floats, out);
  return decode_words<Many, 0, 8>(b, codes, first, floats, out);
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_IMPL_H_
