#include <algorithm>
#include <array>

#include "forms/binary_matrix.h"
#include "kernels/half.h"

namespace dtc {
namespace {

/// For every byte the numbers `clear` and `set` as its bits have them, the lowest first.
constexpr std::array<std::array<float, 8>, 256> numbers_of_bits(float clear, float set) {
  std::array<std::array<float, 8>, 256> numbers{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) numbers[byte][bit] = ((byte >> bit) & 1U) != 0 ? set : clear;
  }
  return numbers;
}

constexpr auto kSigns = numbers_of_bits(-1.0F, 1.0F);
constexpr auto kKept = numbers_of_bits(0.0F, 1.0F);

}  // namespace

std::unique_ptr<Rows> BinaryRows::make(const Tensor& codes, const Tensor& alphas, std::int64_t bits,
                                       std::int64_t in_features, std::int64_t group_size) {
  const BinaryShape shape = canonical_shape(codes, alphas, bits, in_features, group_size);
  return std::unique_ptr<Rows>(new BinaryRows(shape, codes, alphas));
}

BinaryRows::BinaryRows(const BinaryShape& shape, const Tensor& codes, const Tensor& alphas)
    : Rows(shape.rows, shape.cols), shape_(shape), codes_(codes.as<std::uint8_t>()), alphas_(alphas.data) {}

float BinaryRows::alpha(std::size_t term, std::size_t row, std::size_t group) const {
  const std::size_t at = (term * shape_.rows + row) * shape_.groups + group;
  return shape_.half ? float_of_half(static_cast<const std::uint16_t*>(alphas_)[at])
                     : static_cast<const float*>(alphas_)[at];
}

void BinaryRows::decode(std::size_t row, float* out) const {
  const std::size_t stride = shape_.rows * shape_.positions;
  const std::uint8_t* codes = codes_ + row * shape_.positions;
  for (std::size_t group = 0; group < shape_.groups; ++group) {
    float alphas[9] = {};
    for (std::size_t term = 0; term < shape_.terms(); ++term) alphas[term] = alpha(term, row, group);
    const std::size_t begin = group * shape_.group_bytes;
    const std::size_t end = begin + std::min(shape_.group_bytes, shape_.positions - begin);
    for (std::size_t b = begin; b < end; ++b) {
      float values[8];
      for (int i = 0; i < 8; ++i) values[i] = alphas[0] * kSigns[codes[b]][i];
      for (std::size_t p = 1; p < shape_.bits; ++p) {
        const auto& signs = kSigns[codes[p * stride + b]];
        for (int i = 0; i < 8; ++i) values[i] += alphas[p] * signs[i];
      }
      if (shape_.constant) {
        for (float& value : values) value += alphas[shape_.bits];
      }
      if (shape_.masked) {
        const auto& kept = kKept[codes[shape_.bits * stride + b]];
        for (int i = 0; i < 8; ++i) values[i] *= kept[i];
      }
      std::copy_n(values, std::min<std::size_t>(8, cols() - 8 * b), out + 8 * b);
    }
  }
}

}  // namespace dtc
