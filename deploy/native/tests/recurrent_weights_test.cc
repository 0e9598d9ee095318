#include "forms/recurrent_weights.h"

#include <cmath>
#include <cstring>
#include <random>
#include <string>

#include "tests/check.h"

namespace {

using namespace dtc;

constexpr std::size_t kRows = 36, kCols = 21;

const RecurrentForm& form(const char* name) {
  for (const RecurrentForm& each : recurrent_forms()) {
    if (std::strcmp(each.name, name) == 0) return each;
  }
  throw Error("no such form");
}

template <typename T>
Tensor tensor(Type type, const std::vector<T>& data, std::vector<std::int64_t> shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  return {type, std::move(shape), data.data(), count};
}

/// The matrix of one direction, by multiplying the unit vectors.
std::vector<float> dense_of(const Matrix& matrix) {
  std::vector<float> units(matrix.cols() * matrix.cols()), columns(matrix.cols() * matrix.rows());
  for (std::size_t col = 0; col < matrix.cols(); ++col) units[col * matrix.cols() + col] = 1.0f;
  matrix.multiply(units.data(), matrix.cols(), columns.data(), Parallel());
  std::vector<float> out(columns.size());
  for (std::size_t row = 0; row < matrix.rows(); ++row) {
    for (std::size_t col = 0; col < matrix.cols(); ++col) {
      out[row * matrix.cols() + col] = columns[col * matrix.rows() + row];
    }
  }
  return out;
}

void check_sections(const RecurrentForm& each, const std::vector<Tensor>& arrays, const WeightSettings& settings,
                    std::size_t directions, const std::vector<float>& weight) {
  for (std::size_t direction = 0; direction < directions; ++direction) {
    const auto matrix = each.make(arrays, {direction, directions, kRows, kCols}, settings);
    CHECK(matrix->rows() == kRows && matrix->cols() == kCols);
    const std::vector<float> found = dense_of(*matrix);
    float worst = 0;
    for (std::size_t index = 0; index < found.size(); ++index) {
      worst = std::fmax(worst, std::fabs(found[index] - weight[direction * kRows * kCols + index]));
    }
    CHECK(worst <= 1e-4f);
  }
}

/// A stacked weight with zeros, and its arrays in the sparse forms.
struct Pruned {
  std::vector<float> weight, values;
  std::vector<std::uint16_t> columns;
  std::vector<std::uint32_t> pointers = {0};
  std::vector<std::uint8_t> bitmap;
  std::size_t directions;

  explicit Pruned(std::size_t given_directions) : directions(given_directions) {
    std::mt19937 engine(7);
    std::normal_distribution<float> normal;
    std::bernoulli_distribution kept(0.3);
    constexpr std::size_t bytes = (kCols + 7) / 8;
    weight.resize(directions * kRows * kCols);
    bitmap.resize(directions * kRows * bytes);
    for (std::size_t row = 0; row < directions * kRows; ++row) {
      for (std::size_t col = 0; col < kCols; ++col) {
        if (!kept(engine)) continue;
        const float value = weight[row * kCols + col] = normal(engine);
        values.push_back(value);
        columns.push_back(static_cast<std::uint16_t>(col));
        bitmap[row * bytes + col / 8] |= static_cast<std::uint8_t>(1u << (col % 8));
      }
      pointers.push_back(static_cast<std::uint32_t>(values.size()));
    }
  }

  std::vector<Tensor> csr() const {
    const auto count = static_cast<std::int64_t>(values.size()), ends = static_cast<std::int64_t>(pointers.size());
    return {tensor(Type::f32, values, {count}), tensor(Type::u16, columns, {count}),
            tensor(Type::u32, pointers, {ends})};
  }
  std::vector<Tensor> bits() const {
    return {tensor(Type::f32, values, {static_cast<std::int64_t>(values.size())}),
            tensor(Type::u8, bitmap, {static_cast<std::int64_t>(directions * kRows), (kCols + 7) / 8})};
  }
};

TEST(sections_of_sparse_weights) {
  for (std::size_t directions : {1, 2, 3}) {
    const Pruned pruned(directions);
    check_sections(form("sparse"), pruned.csr(), {}, directions, pruned.weight);
    check_sections(form("bitmap"), pruned.bits(), {}, directions, pruned.weight);
  }
}

TEST(sections_of_dense_weights_and_factors) {
  const Pruned pruned(2);
  check_sections(form("dense"), {tensor(Type::f32, pruned.weight, {2, kRows, kCols})}, {}, 2, pruned.weight);
  constexpr std::size_t rank = 3;
  std::vector<float> left(2 * kRows * rank), right(2 * rank * kCols), product(2 * kRows * kCols);
  for (std::size_t i = 0; i < left.size(); ++i) left[i] = static_cast<float>(i % 7) - 3.0f;
  for (std::size_t i = 0; i < right.size(); ++i) right[i] = static_cast<float>(i % 5) - 2.0f;
  for (std::size_t row = 0; row < 2 * kRows; ++row) {
    for (std::size_t col = 0; col < kCols; ++col) {
      for (std::size_t k = 0; k < rank; ++k) {
        product[row * kCols + col] += left[row * rank + k] * right[(row / kRows * rank + k) * kCols + col];
      }
    }
  }
  check_sections(form("low_rank"),
                 {tensor(Type::f32, left, {2, kRows, rank}), tensor(Type::f32, right, {2, rank, kCols})}, {}, 2,
                 product);
}

TEST(sections_of_codes) {
  constexpr std::size_t bytes = (kCols + 7) / 8;
  std::vector<std::uint8_t> codes(2 * 2 * kRows * bytes);
  std::mt19937 engine(3);
  for (std::uint8_t& byte : codes) byte = static_cast<std::uint8_t>(engine());
  std::vector<float> alphas(2 * 2 * kRows), weight(2 * kRows * kCols);
  for (std::size_t i = 0; i < alphas.size(); ++i) alphas[i] = 0.1f * static_cast<float>(i % 11 + 1);
  for (std::size_t row = 0; row < 2 * kRows; ++row) {
    const std::size_t direction = row / kRows, r = row % kRows, block = r / 32, wide = r < 32 ? 32 : kRows - 32;
    for (std::size_t col = 0; col < kCols; ++col) {
      for (std::size_t plane = 0; plane < 2; ++plane) {
        const std::size_t at = (direction * 2 + plane) * kRows * bytes + block * 32 * bytes + col / 8 * wide + r % 32;
        const float sign = (codes[at] >> (col % 8) & 1) != 0 ? 1.0f : -1.0f;
        weight[row * kCols + col] += sign * alphas[(direction * 2 + plane) * kRows + r];
      }
    }
  }
  WeightSettings settings;
  settings.bits = 2;
  settings.group_size = 8 * bytes;
  const std::vector<Tensor> arrays = {tensor(Type::u8, codes, {2, 2, kRows * bytes}),
                                      tensor(Type::f32, alphas, {2, 2, 1, kRows})};
  check_sections(form("binary"), arrays, settings, 2, weight);

  const std::vector<float> words = {-1.0f, 0.5f, 2.0f, 3.0f};
  std::vector<std::uint8_t> indices(2 * kRows * ((kCols + 3) / 4));
  for (std::uint8_t& byte : indices) byte = static_cast<std::uint8_t>(engine());
  for (std::size_t row = 0; row < 2 * kRows; ++row) {
    for (std::size_t col = 0; col < kCols; ++col) {
      const std::uint8_t byte = indices[row * ((kCols + 3) / 4) + col / 4];
      weight[row * kCols + col] = words[byte >> (2 * (col % 4)) & 3];
    }
  }
  check_sections(form("codebook"),
                 {tensor(Type::u8, indices, {2 * kRows, (kCols + 3) / 4}), tensor(Type::f32, words, {4, 1})}, settings,
                 2, weight);
}

TEST(sections_of_hostile_pointers_are_refused) {
  const RecurrentForm& sparse = form("sparse");
  const auto make = [&](const Pruned& pruned) {
    for (std::size_t direction : {0, 1}) sparse.make(pruned.csr(), {direction, 2, kRows, kCols}, {});
  };
  make(Pruned(2));
  for (std::size_t place : {std::size_t{0}, std::size_t{5}, kRows, kRows + 4, 2 * kRows}) {
    for (std::uint32_t value : {1000000u, 0xffffffffu, 0x80000000u}) {
      Pruned pruned(2);
      pruned.pointers[place] = value;
      CHECK_REFUSED(make(pruned), "");
    }
  }
  Pruned falling(2);
  falling.pointers[kRows + 4] = 1;
  CHECK_REFUSED(make(falling), "");
  Pruned outside(2);
  outside.columns[outside.columns.size() - 1] = kCols;
  CHECK_REFUSED(make(outside), "");
  Pruned unequal(2);
  unequal.columns.pop_back();
  std::vector<Tensor> arrays = unequal.csr();
  arrays[1].count = unequal.columns.size();
  CHECK_REFUSED(sparse.make(arrays, {1, 2, kRows, kCols}, {}), "columns and values differ");
}

TEST(sections_of_hostile_bitmaps_are_refused) {
  const RecurrentForm& bitmap = form("bitmap");
  for (std::size_t byte : {std::size_t{0}, std::size_t{3 * kRows}, std::size_t{6 * kRows - 1}}) {
    for (const std::uint8_t bits : std::vector<std::uint8_t>{0x00, 0xff}) {
      Pruned pruned(2);
      if (pruned.bitmap[byte] == bits) continue;
      pruned.bitmap[byte] = bits;
      CHECK_REFUSED(
          (bitmap.make(pruned.bits(), {0, 2, kRows, kCols}, {}), bitmap.make(pruned.bits(), {1, 2, kRows, kCols}, {})),
          "");
    }
  }
  Pruned few(2);
  few.values.resize(3);
  CHECK_REFUSED(bitmap.make(few.bits(), {1, 2, kRows, kCols}, {}), "more bits than there are values");
  CHECK_REFUSED(bitmap.make(few.bits(), {0, 2, kRows, kCols}, {}), "more bits than there are values");
}

TEST(sections_of_arrays_for_other_sizes_are_refused) {
  const Pruned pruned(2);
  CHECK_REFUSED(form("dense").make({tensor(Type::f32, pruned.weight, {2, kRows, kCols})}, {0, 1, kRows, kCols}, {}),
                "the node has 1 directions");
  CHECK_REFUSED(form("sparse").make(pruned.csr(), {0, 1, kRows, kCols}, {}), "row_pointers has shape [73]");
  CHECK_REFUSED(form("bitmap").make(pruned.bits(), {0, 2, kRows + 1, kCols}, {}), "74 numbers are needed");
  CHECK_REFUSED(form("bitmap").make(pruned.bits(), {0, 2, kRows, kCols + 8}, {}), "");
  CHECK_REFUSED(
      form("low_rank").make({tensor(Type::f32, pruned.weight, {2, kRows, kCols}), Tensor()}, {0, 2, kRows, kCols}, {}),
      "right is missing");
  CHECK_REFUSED(
      form("binary").make({tensor(Type::u8, pruned.bitmap, {2, 1, kRows * 3}), Tensor()}, {0, 2, kRows, kCols}, {}),
      "alphas is missing");
}

}  // namespace
