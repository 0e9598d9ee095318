// Random weights of binary codes, in both layouts, and what they mean: in double, from the definition.
#ifndef DTC_TESTS_BINARY_CASE_H_
#define DTC_TESTS_BINARY_CASE_H_

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "forms/inputs.h"

namespace dtc::testing {

struct BinarySpec {
  std::size_t rows, cols, bits, group_size = 0;  // group_size 0: one group a row
  bool masked = false, constant = false, half = false;
  double kept = 0.5;  // share of weights that a mask keeps
};

inline Tensor tensor_of(Type type, std::vector<std::size_t> shape, const void* data) {
  Tensor tensor;
  tensor.type = type;
  tensor.count = 1;
  for (const std::size_t length : shape) {
    tensor.shape.push_back(static_cast<std::int64_t>(length));
    tensor.count *= length;
  }
  tensor.data = data;
  return tensor;
}

/// A float16 that is a whole number of 1/256 below 4 in size: exactly representable, and made without a conversion.
inline std::uint16_t half_of_256ths(int number) {
  if (number == 0) return 0;
  const int size = number < 0 ? -number : number;
  int exponent = 0;
  while ((2 << exponent) <= size) ++exponent;  // 2^exponent <= size
  const int fraction = (size << (10 - exponent)) & 1023;
  return static_cast<std::uint16_t>((number < 0 ? 0x8000 : 0) | ((exponent - 8 + 15) << 10) | fraction);
}

struct BinaryCase {
  BinarySpec spec;
  std::size_t positions, planes, terms, groups, group_size;
  std::vector<std::uint8_t> blocked, canonical;
  std::vector<float> alphas_blocked, alphas_canonical;  // as floats, whatever the spec
  std::vector<std::uint16_t> halves_blocked, halves_canonical;
  std::vector<double> weight;  // [rows, cols]

  explicit BinaryCase(const BinarySpec& given, unsigned seed = 1) : spec(given) {
    std::mt19937 random(seed);
    positions = (spec.cols + 7) / 8;
    planes = spec.bits + (spec.masked ? 1 : 0);
    terms = spec.bits + (spec.constant ? 1 : 0);
    group_size = spec.group_size != 0 ? spec.group_size : positions * 8;
    groups = (spec.cols + group_size - 1) / group_size;
    draw_codes(random);
    draw_alphas(random);
    weight.resize(spec.rows * spec.cols);
    for (std::size_t r = 0; r < spec.rows; ++r) add_levels(r, weight.data() + r * spec.cols);
  }

  bool bit(std::size_t plane, std::size_t r, std::size_t c) const {
    return ((canonical[(plane * spec.rows + r) * positions + c / 8] >> (c % 8)) & 1) != 0;
  }

  Tensor codes() const { return tensor_of(Type::u8, {planes, spec.rows * positions}, blocked.data()); }
  Tensor alphas() const { return alphas_of({terms, groups, spec.rows}, alphas_blocked, halves_blocked); }
  Tensor canonical_codes() const { return tensor_of(Type::u8, {planes, spec.rows, positions}, canonical.data()); }
  Tensor canonical_alphas() const { return alphas_of({terms, spec.rows, groups}, alphas_canonical, halves_canonical); }

 private:
  Tensor alphas_of(const std::vector<std::size_t>& shape, const std::vector<float>& floats,
                   const std::vector<std::uint16_t>& halves) const {
    return spec.half ? tensor_of(Type::f16, shape, halves.data()) : tensor_of(Type::f32, shape, floats.data());
  }

  void draw_codes(std::mt19937& random) {
    canonical.resize(planes * spec.rows * positions);
    for (std::uint8_t& byte : canonical) byte = static_cast<std::uint8_t>(random());
    std::bernoulli_distribution kept(spec.kept);
    for (std::size_t i = spec.bits * spec.rows * positions; i < canonical.size(); ++i) {
      canonical[i] = 0;
      for (int b = 0; b < 8; ++b) canonical[i] = static_cast<std::uint8_t>(canonical[i] | (kept(random) ? 1 << b : 0));
    }
    blocked.clear();
    for (std::size_t plane = 0; plane < planes; ++plane) {
      for (std::size_t first = 0; first < spec.rows; first += 32) {
        for (std::size_t b = 0; b < positions; ++b) {
          for (std::size_t r = first; r < first + 32 && r < spec.rows; ++r) {
            blocked.push_back(canonical[(plane * spec.rows + r) * positions + b]);
          }
        }
      }
    }
  }

  void draw_alphas(std::mt19937& random) {
    std::uniform_int_distribution<int> numbers(-1000, 1000);
    const std::size_t count = terms * groups * spec.rows;
    alphas_blocked.resize(count);
    alphas_canonical.resize(count);
    halves_blocked.resize(count);
    halves_canonical.resize(count);
    for (std::size_t t = 0; t < terms; ++t) {
      for (std::size_t g = 0; g < groups; ++g) {
        for (std::size_t r = 0; r < spec.rows; ++r) {
          const int number = numbers(random);
          const std::size_t at = (t * groups + g) * spec.rows + r, to = (t * spec.rows + r) * groups + g;
          alphas_blocked[at] = alphas_canonical[to] = static_cast<float>(number) / 256.0F;
          halves_blocked[at] = halves_canonical[to] = half_of_256ths(number);
        }
      }
    }
  }

  void add_levels(std::size_t r, double* row) const {
    for (std::size_t t = 0; t < terms; ++t) {
      for (std::size_t g = 0; g < groups; ++g) {
        const double alpha = alphas_blocked[(t * groups + g) * spec.rows + r];
        const std::size_t end = std::min(spec.cols, (g + 1) * group_size);
        for (std::size_t c = g * group_size; c < end; ++c) row[c] += t == spec.bits || bit(t, r, c) ? alpha : -alpha;
      }
    }
    if (!spec.masked) return;
    for (std::size_t c = 0; c < spec.cols; ++c) row[c] = bit(spec.bits, r, c) ? row[c] : 0.0;
  }
};

}  // namespace dtc::testing

#endif  // DTC_TESTS_BINARY_CASE_H_
