#include "forms/codebook_matrix.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "tests/dense_reference.h"

namespace dtc::testing {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// A random weight of codewords, and the floats that it stands for, decoded index by index.
struct Weight {
  Weight(std::size_t rows, std::size_t cols, std::size_t bits, std::size_t block, std::size_t words)
      : codewords(normal(words * block, 7)), dense(rows * cols) {
    const std::size_t blocks = (cols + block - 1) / block, bytes = (blocks * bits + 7) / 8;
    std::mt19937 engine(8);
    packed.resize(rows * bytes);
    for (std::uint8_t& byte : packed) byte = static_cast<std::uint8_t>(engine());
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < cols; ++c) {
        const std::size_t bit = c / block * bits;
        const std::size_t index = packed[r * bytes + bit / 8] >> bit % 8 & ((1u << bits) - 1);
        dense[r * cols + c] = codewords[std::min(index, words - 1) * block + c % block];
      }
    }
    const auto size = [](std::size_t value) { return static_cast<std::int64_t>(value); };
    indices_input = tensor(Type::u8, {size(rows), size(bytes)}, packed.data());
    codewords_input = tensor(Type::f32, {size(words), size(block)}, codewords.data());
  }

  Bytes packed;
  Floats codewords, dense;
  Tensor indices_input, codewords_input;
};

void check_product(std::size_t rows, std::size_t cols, std::size_t bits, std::size_t block, std::size_t words,
                   std::size_t count) {
  const Weight weight(rows, cols, bits, block, words);
  const Floats x = normal(count * cols, 9);
  const auto matrix = CodebookMatrix::make(weight.indices_input, weight.codewords_input,
                                           static_cast<std::int64_t>(bits), static_cast<std::int64_t>(cols));
  CHECK(matrix->rows() == rows && matrix->cols() == cols);
  CHECK(is_product(weight.dense, x, product_of(*matrix, x, count), rows, cols, count));
}

void check_rows(std::size_t rows, std::size_t cols, std::size_t bits, std::size_t block, std::size_t words) {
  const Weight weight(rows, cols, bits, block, words);
  const auto matrix = CodebookRows::make(weight.indices_input, weight.codewords_input, static_cast<std::int64_t>(bits),
                                         static_cast<std::int64_t>(cols));
  CHECK(matrix->rows() == rows && matrix->cols() == cols);
  Floats row(cols + 1);
  for (std::size_t r = 0; r < rows; ++r) {
    row[cols] = 5;
    matrix->decode(r, row.data());
    CHECK(std::equal(row.begin(), row.end() - 1, weight.dense.begin() + static_cast<std::ptrdiff_t>(r * cols)));
    CHECK(row[cols] == 5);  // nothing is written beyond the row
  }
}

}  // namespace

TEST(codebook_products_of_every_width_and_block) {
  for (const std::size_t bits : {1, 2, 4, 8}) {
    for (const std::size_t block : {1, 2, 3, 4, 5, 7, 8, 9, 16, 19}) {
      for (const std::size_t cols : {1, 9, 67, 130}) {
        for (const std::size_t count : {1, 2, 3, 4, 7}) check_product(11, cols, bits, block, 1u << bits, count);
      }
      check_rows(5, 67, bits, block, 1u << bits);
    }
  }
}

TEST(codebook_products_of_many_rows_of_x) {
  for (const std::size_t bits : {1, 2, 4, 8}) {
    for (const std::size_t count : {8, 20, 33}) {
      check_product(45, 1100, bits, 1, 1u << bits, count);
      check_product(21, 2050, bits, 3, 1u << bits, count);
    }
  }
  check_product(3, 2500, 4, 1200, 16, 9);  // codewords longer than a tile
  check_product(2, 40000, 1, 20000, 2, 9);
}

TEST(codebook_products_of_large_sizes) {
  for (const std::size_t bits : {1, 2, 4, 8}) {
    check_product(650, 1301, bits, 1, 1u << bits, 1);
    check_product(333, 1301, bits, 4, 1u << bits, 2);
  }
  check_product(5, 300000, 8, 4, 256, 1);  // fewer rows than pieces of work
  check_product(5, 150000, 4, 1, 16, 5);
}

TEST(codebook_indices_without_a_codeword_mean_the_last) {
  check_product(7, 50, 4, 1, 11, 1);
  check_product(7, 50, 4, 1, 11, 9);
  check_product(7, 50, 8, 2, 200, 1);
  check_product(7, 50, 2, 1, 1, 3);
  check_rows(7, 50, 8, 4, 3);
  check_rows(7, 50, 1, 1, 1);
}

TEST(codebook_products_of_nothing) {
  check_product(0, 30, 4, 2, 16, 3);
  check_product(3, 0, 4, 2, 16, 1);  // zeros
  check_product(3, 0, 2, 1, 4, 9);
  check_product(3, 30, 4, 2, 16, 0);
  check_rows(3, 0, 8, 4, 256);
}

TEST(codebook_products_with_what_is_not_finite) {
  for (const std::size_t bits : {1, 2, 4, 8}) {
    for (const std::size_t block : {1, 3, 8}) {
      const std::size_t cols = 45;
      const Weight weight(13, cols, bits, block, 1u << bits);
      const auto matrix = CodebookMatrix::make(weight.indices_input, weight.codewords_input,
                                               static_cast<std::int64_t>(bits), static_cast<std::int64_t>(cols));
      for (const std::size_t count : {3, 6}) {
        Floats x = normal(count * cols, 6);
        x[cols] = std::numeric_limits<float>::infinity();
        const Floats y = product_of(*matrix, x, count);
        for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isfinite(y[i]) == (i / 13 != 1));
      }
    }
  }
}

TEST(codebook_inputs_that_do_not_fit_are_refused) {
  const Bytes bytes(64);
  const Floats words(64);
  const auto make = [&](Type type, std::vector<std::int64_t> shape, std::vector<std::int64_t> codewords,
                        std::int64_t bits, std::int64_t columns) {
    CodebookMatrix::make(tensor(type, std::move(shape), bytes.data()),
                         tensor(Type::f32, std::move(codewords), words.data()), bits, columns);
  };
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  make(Type::u8, {4, 3}, {16, 2}, 4, 11);
  CHECK_REFUSED(make(Type::i8, {4, 3}, {16, 2}, 4, 11), "indices has element type");
  CHECK_REFUSED(make(Type::u8, {12}, {16, 2}, 4, 11), "indices has shape [12]");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {32}, 4, 11), "codewords has shape [32]");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {0, 2}, 4, 11), "codewords has shape [0, 2]");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 0}, 4, 11), "codewords has shape [16, 0]");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 2}, 3, 11), "bits is 3");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 2}, 0, 11), "bits is 0");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 2}, -8, 11), "bits is -8");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 2}, 4, 13), "are 4 bytes a row");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 2}, 4, 8), "are 2 bytes a row");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 2}, 4, -1), "columns is -1");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 2}, 8, most), "bytes a row");
  CHECK_REFUSED(make(Type::u8, {4, 3}, {16, 1}, 8, most), "bytes a row");
  CHECK_REFUSED(CodebookRows::make(Tensor{}, Tensor{}, 8, 1), "indices is missing");
}

}  // namespace dtc::testing
