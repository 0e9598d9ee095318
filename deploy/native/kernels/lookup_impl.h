// Codewords of one float, few enough to be held in registers. Each file of an instruction set defines, in an anonymous
// namespace and before including this, classes L of `Packed`, the indices of `step` bytes; `vectors`, how many vectors
// of codewords these are; and the operations used below. Nothing here has external linkage.
#ifndef DTC_KERNELS_LOOKUP_IMPL_H_
#define DTC_KERNELS_LOOKUP_IMPL_H_

#include <cstddef>
#include <cstdint>

#include "kernels/codebook.h"

namespace dtc {
namespace {

/// sums[j] += the codewords of `L::step` bytes of each of R rows times as many floats of x.
template <class L, std::size_t R>
void add_looked_up(const L& lookup, const typename L::Packed (&packed)[R], const float* x,
                   typename L::Type (&sums)[R]) {
  for (std::size_t v = 0; v < L::vectors; ++v) {
    const typename L::Type of_x = L::load(x + v * L::lanes);
    for (std::size_t j = 0; j < R; ++j) sums[j] = L::multiply_add(of_x, lookup.at(packed[j], v), sums[j]);
  }
}

/// What is left of a row, as a whole step: to read that from memory could go beyond the last row.
template <class L>
typename L::Packed unpack_rest(const L& lookup, const std::uint8_t* codes, std::size_t bytes) {
  std::uint8_t rest[L::step] = {};
  for (std::size_t k = 0; k < bytes; ++k) rest[k] = codes[k];
  return lookup.unpack(rest);
}

/// R rows of indices with x.
template <class L, std::size_t R>
void lookup_tile(const L& lookup, const std::uint8_t* codes, std::size_t row_bytes, const float* x, float* y) {
  typename L::Type sums[R];
  typename L::Packed packed[R];
  for (std::size_t j = 0; j < R; ++j) sums[j] = L::zero();
  std::size_t i = 0;
  for (; i + L::step <= row_bytes; i += L::step, x += L::vectors * L::lanes) {
    for (std::size_t j = 0; j < R; ++j) packed[j] = lookup.unpack(codes + j * row_bytes + i);
    add_looked_up(lookup, packed, x, sums);
  }
  if (i < row_bytes) {
    for (std::size_t j = 0; j < R; ++j) packed[j] = unpack_rest(lookup, codes + j * row_bytes + i, row_bytes - i);
    add_looked_up(lookup, packed, x, sums);
  }
  for (std::size_t j = 0; j < R; ++j) y[j] = L::sum(sums[j]);
}

template <class L>
void multiply_looked_up(const Codebook& b, std::size_t rows, const float* x, float* y) {
  const L lookup(b.words);
  std::size_t r = 0;
  for (; r + 4 <= rows; r += 4) lookup_tile<L, 4>(lookup, b.codes + r * b.row_bytes, b.row_bytes, x, y + r);
  for (; r < rows; ++r) lookup_tile<L, 1>(lookup, b.codes + r * b.row_bytes, b.row_bytes, x, y + r);
}

template <class L>
void decode_looked_up(const Codebook& b, const std::uint8_t* codes, std::size_t first, std::size_t floats, float* out) {
  constexpr std::size_t each = L::vectors * L::lanes;
  const L lookup(b.words);
  codes += first * b.bits / 8;
  for (; floats >= each; codes += L::step, floats -= each, out += each) {
    const typename L::Packed packed = lookup.unpack(codes);
    for (std::size_t v = 0; v < L::vectors; ++v) L::store(out + v * L::lanes, lookup.at(packed, v));
  }
  if (floats == 0) return;
  const typename L::Packed packed = unpack_rest(lookup, codes, (floats * b.bits + 7) / 8);
  float rest[each];
  for (std::size_t v = 0; v < L::vectors; ++v) L::store(rest + v * L::lanes, lookup.at(packed, v));
  for (std::size_t k = 0; k < floats; ++k) out[k] = rest[k];
}

void lookup_multiply(const Codebook& b, std::size_t rows, const float* x, float* y) {
  if (b.bits == 2) return multiply_looked_up<Lookup<2>>(b, rows, x, y);
  if (b.bits == 4) return multiply_looked_up<Lookup<4>>(b, rows, x, y);
  multiply_looked_up<Lookup<8>>(b, rows, x, y);
}

void lookup_decode(const Codebook& b, const std::uint8_t* codes, std::size_t first, std::size_t floats, float* out) {
  if (b.bits == 2) return decode_looked_up<Lookup<2>>(b, codes, first, floats, out);
  if (b.bits == 4) return decode_looked_up<Lookup<4>>(b, codes, first, floats, out);
  decode_looked_up<Lookup<8>>(b, codes, first, floats, out);
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LOOKUP_IMPL_H_
