// Codewords looked up in a table, on any vector type. Each file of an instruction set defines, in an anonymous
// namespace and before including this, `One`, `Two`, `Four` and `Many`: vectors for codewords of so many floats, with
// `Type`, `lanes` (1, 2, 4, and for Many a divisor of 8) and the operations used below. Nothing here has external
// linkage.
#ifndef DTC_KERNELS_CODEBOOK_IMPL_H_
#define DTC_KERNELS_CODEBOOK_IMPL_H_

#include <cstddef>
#include <cstdint>

#include "kernels/codebook.h"

namespace dtc {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first of eight bytes is the least significant");

/// Codewords, and what is known of them when compiling: how far apart they are, 0 where it is not.
template <class Vector, std::size_t Stride, unsigned Bits>
struct Words : Vector {
  explicit Words(const Codebook& b)
      : table(b.words), stride(Stride == 0 ? b.stride : Stride), block(Stride == 1 || Stride == 2 ? Stride : b.block) {}

  static constexpr unsigned bits = Bits;
  static constexpr std::size_t each = 8 / Bits;  // indices of a byte

  /// The codeword that the lowest bits say.
  const float* at(std::uint64_t low) const {
    return table + (low & ((1u << Bits) - 1)) * (Stride == 0 ? stride : Stride);
  }

  /// The codeword of the i-th index.
  const float* of(const std::uint8_t* codes, std::size_t i) const { return at(codes[i / each] >> (i % each * Bits)); }

  const float* table;
  std::size_t stride, block;
};

inline std::uint64_t load_eight(const std::uint8_t* from) {
  std::uint64_t out;
  __builtin_memcpy(&out, from, 8);
  return out;
}

/// sums[j] += the product of a codeword of each of R rows with the same floats of x.
template <class W, std::size_t Stride, std::size_t R>
void add_products(const W& words, const float* const (&word)[R], const float* x, typename W::Type (&sums)[R]) {
  const std::size_t stride = Stride == 0 ? words.stride : Stride;
  for (std::size_t k = 0; k < stride; k += W::lanes) {
    const typename W::Type of_x = W::load(x + k);
    for (std::size_t j = 0; j < R; ++j) sums[j] = W::multiply_add(of_x, W::load(word[j] + k), sums[j]);
  }
}

/// R rows of indices with x. Indices are read eight bytes at once: to read each alone took 1.4 times as long, as the
/// processor's loads are what limits this. Every other codeword has sums of its own, so that additions need not wait.
template <class W, std::size_t Stride, std::size_t R>
void codebook_tile(const W& words, const std::uint8_t* codes, std::size_t row_bytes, const float* x, float* y) {
  typename W::Type even[R], odd[R];
  for (std::size_t j = 0; j < R; ++j) even[j] = odd[j] = W::zero();
  const float *word[R], *next[R];
  std::size_t i = 0;
  for (; i + 8 <= row_bytes; i += 8) {
    std::uint64_t eight[R];
    for (std::size_t j = 0; j < R; ++j) eight[j] = load_eight(codes + j * row_bytes + i);
    for (std::size_t k = 0; k < 4 * W::each; ++k, x += 2 * words.block) {
      for (std::size_t j = 0; j < R; ++j) {
        word[j] = words.at(eight[j]);
        next[j] = words.at(eight[j] >> W::bits);
        eight[j] >>= 2 * W::bits;
      }
      add_products<W, Stride>(words, word, x, even);
      add_products<W, Stride>(words, next, x + words.block, odd);
    }
  }
  for (i *= W::each; i < row_bytes * W::each; ++i, x += words.block) {
    for (std::size_t j = 0; j < R; ++j) word[j] = words.of(codes + j * row_bytes, i);
    add_products<W, Stride>(words, word, x, even);
  }
  for (std::size_t j = 0; j < R; ++j) y[j] = W::sum(even[j]) + W::sum(odd[j]);
}

template <class Vector, std::size_t Stride, unsigned bits>
void multiply_words(const Codebook& b, std::size_t rows, const float* x, float* y) {
  using W = Words<Vector, Stride, bits>;
  const W words(b);
  std::size_t r = 0;
  for (; r + 4 <= rows; r += 4) codebook_tile<W, Stride, 4>(words, b.codes + r * b.row_bytes, b.row_bytes, x, y + r);
  for (; r < rows; ++r) codebook_tile<W, Stride, 1>(words, b.codes + r * b.row_bytes, b.row_bytes, x, y + r);
}

/// Whole vectors are written, each over what the one before wrote too much, as long as they stay within out.
template <class Vector, std::size_t Stride, unsigned bits>
void decode_words(const Codebook& b, const std::uint8_t* codes, std::size_t i, std::size_t floats, float* out) {
  using W = Words<Vector, Stride, bits>;
  const W words(b);
  for (; floats >= words.stride; ++i, floats -= words.block, out += words.block) {
    const float* const word = words.of(codes, i);
    for (std::size_t k = 0; k < words.stride; k += W::lanes) W::store(out + k, W::load(word + k));
  }
  for (; floats > 0; ++i) {
    const float* const word = words.of(codes, i);
    const std::size_t some = floats < words.block ? floats : words.block;
    for (std::size_t k = 0; k < some; ++k) out[k] = word[k];
    out += some;
    floats -= some;
  }
}

void codebook_multiply(const Codebook& b, std::size_t rows, const float* x, float* y) {
  if (b.bits == 1) return multiply_words<Many, 0, 1>(b, rows, x, y);
  if (b.bits == 2) return multiply_words<Many, 0, 2>(b, rows, x, y);
  if (b.bits == 4) return multiply_words<Many, 0, 4>(b, rows, x, y);
  if (b.stride == 1) return multiply_words<One, 1, 8>(b, rows, x, y);
  if (b.stride == 2) return multiply_words<Two, 2, 8>(b, rows, x, y);
  if (b.stride == 4) return multiply_words<Four, 4, 8>(b, rows, x, y);
  if (b.stride == 8) return multiply_words<Many, 8, 8>(b, rows, x, y);
  if (b.stride == 16) return multiply_words<Many, 16, 8>(b, rows, x, y);
  return multiply_words<Many, 0, 8>(b, rows, x, y);
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
