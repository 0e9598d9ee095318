// Codebooks by bytes against floats, and the kernels against the plain ones.
#include "forms/codebook_bytes.h"

#include <algorithm>
#include <limits>

#include "forms/codebook_matrix.h"
#include "forms/tile_inputs.h"
#include "kernels/codebook_nibbles_tables.h"
#include "kernels/codebook_sums_tables.h"
#include "kernels/codebook_tiles_tables.h"
#include "tests/dense_reference.h"

namespace dtc::testing {
namespace {

struct Case {
  Case(std::size_t r, std::size_t c, std::size_t b, std::size_t d)
      : rows(r), cols(c), bits(b), block(d), words(normal((std::size_t{1} << b) * d, 3)) {
    const std::size_t blocks = (cols + block - 1) / block;
    row_bytes = (blocks * bits + 7) / 8;
    std::mt19937 engine(5);
    for (std::size_t i = 0; i < rows * row_bytes; ++i) codes.push_back(static_cast<std::uint8_t>(engine()));
  }

  std::unique_ptr<Matrix> matrix(std::int64_t level) const {
    const auto size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    return CodebookMatrix::make(tensor(Type::u8, {size(rows), size(row_bytes)}, codes.data()),
                                tensor(Type::f32, {size(words.size() / block), size(block)}, words.data()), size(bits),
                                size(cols), level);
  }

  std::size_t rows, cols, bits, block, row_bytes = 0;
  std::vector<std::uint8_t> codes;
  Floats words;
};

double difference(const Floats& a, const Floats& b) {
  double off = 0.0, size = 1e-30;
  for (std::size_t i = 0; i < a.size(); ++i) {
    off += std::pow(static_cast<double>(a[i] - b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(off / size);
}

void check_levels(const Case& c, std::size_t count, double scale = 1.0) {
  const Floats x = normal(count * c.cols, 9), exact = product_of(*c.matrix(0), x, count);
  CHECK(difference(product_of(*c.matrix(1), x, count), exact) <= 1e-4 * scale);
  CHECK(difference(product_of(*c.matrix(4), x, count), exact) <= 2e-2 * scale);
}

TEST(codebook_levels_are_as_exact_as_they_say) {
  for (const std::size_t count : {1, 2, 3, 20}) {
    for (const std::size_t cols : {31, 1000, 1031}) {
      check_levels({70, cols, 4, 1}, count, 2);
      check_levels({301, cols, 8, 4}, count, 2);
      check_levels({65, cols, 8, 8}, count, 2);
      check_levels({33, cols, 2, 3}, count, 2);
      check_levels({33, cols, 1, 1}, count, 2);
    }
  }
  check_levels({40, 3000, 8, 4}, 70);
  check_levels({600, 3000, 4, 1}, 1);
}

TEST(codebook_kernels_are_as_the_plain_ones) {
  const CodebookSumsKernel* const sums = codebook_sums_kernel();
  if (sums == nullptr) return;
  for (const std::size_t row_bytes : {1, 15, 64, 85, 200}) {
    const Case c(70 + row_bytes, row_bytes * 4, 8, 4);
    const Floats x = normal(c.cols - 2, 4), words = normal(4 * 256, 6);  // a part of the last block is beyond x
    Floats found[2];
    const CodebookSumsKernel* const both[] = {sums, &kCodebookSumsScalar};
    for (int i = 0; i < 2; ++i) {
      std::vector<unsigned char> tables(row_bytes * kSumsTable);
      Floats scales(row_bytes / kSumsRun + 1);
      found[i].assign(c.rows, 0.0F);
      both[i]->build(x.data(), x.size(), words.data(), 4, row_bytes, tables.data(), scales.data());
      both[i]->multiply({c.codes.data(), row_bytes, c.rows}, 0, tables.data(), scales.data(), found[i].data());
    }
    CHECK(difference(found[0], found[1]) <= 1e-4);
  }
}

TEST(codebook_halves_are_as_the_plain_ones) {
  const CodebookNibblesKernel* const kernel = codebook_nibbles_kernel();
  if (kernel == nullptr) return;
  const Case c(37, 333, 4, 1);
  std::vector<std::int8_t> tables(4 * 256);
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const std::size_t index = i / 256 % 2 == 0 ? i % 16 : i % 256 / 16;
    tables[i] = static_cast<std::int8_t>(static_cast<int>(index * 37 % 255) - 127 + static_cast<int>(i / 512));
  }
  const Floats x = normal(c.cols, 4);
  for (int digits = 1; digits <= 4; ++digits) {
    Floats found[2];
    const CodebookNibblesKernel* const both[] = {kernel, &kCodebookNibblesScalar};
    for (int i = 0; i < 2; ++i) {
      std::vector<std::int8_t> memory(4 * 192 + 64);
      const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
      NibbleColumn column{memory.data() + (64 - address % 64) % 64, 192, digits % 2 + 1, 0.0F, {0, 0}};
      both[i]->build(x.data(), c.cols, column);
      found[i].resize(c.rows);
      both[i]->multiply({c.codes.data(), c.row_bytes, c.rows}, {tables.data(), 2, (digits + 1) / 2, 0.5F, true}, column,
                        found[i].data());
    }
    CHECK(difference(found[0], found[1]) <= (digits % 2 == 0 ? 2e-3 : 1e-4));
  }
}

/// The product of up to 32 rows of a case with `count` columns by tiles, whose numbers have one byte or two.
Floats tiled_product(const CodebookTileKernel& kernel, const Case& c, const ByteWords& words, const Floats& x,
                     std::size_t count, int digits) {
  const std::size_t tiles = (c.row_bytes + kTileDepth - 1) / kTileDepth * words.places;
  TileInputs inputs(tiles, 1, digits, count);
  inputs.build(count, c.cols, Parallel(), [&](std::size_t column, std::size_t lower, const TileColumns& columns) {
    kernel.build(x.data() + column * c.cols, c.cols, words.places, digits, column, lower, columns);
  });
  Floats products(kTileColumns * kLutRows), y(count * c.rows);
  kernel.begin(inputs.columns().count);
  kernel.multiply({c.codes.data(), c.row_bytes, c.rows}, words, inputs.columns(), products.data());
  kernel.end();
  inputs.put(products.data(), 0, c.rows, y.data());
  return y;
}

TEST(codebook_tiles_are_as_the_model_of_their_instructions) {
  const CodebookTileKernel* const kernel = codebook_tile_kernel();
  if (kernel == nullptr) return;
  for (const std::size_t places : {1, 2, 4, 12}) {
    for (const bool nibbles : {false, true}) {
      if (nibbles && places != 2) continue;
      const Case c(places == 4 ? 32 : 19, 150 * places - 1, 8, places);
      std::vector<std::int8_t> tables(2 * places * 256);
      for (std::size_t i = 0; i < tables.size(); ++i) {
        const std::size_t byte = i % 256, index = nibbles ? (i / 256 % 2 == 0 ? byte % 16 : byte / 16) : i;
        tables[i] = static_cast<std::int8_t>(static_cast<int>(index * 37 % 255) - 127);
      }
      for (const std::size_t count : {1, 16, 23}) {
        for (int digits = 1; digits <= 4; ++digits) {
          const ByteWords words{tables.data(), places, (digits + 1) / 2, 0.5F, nibbles};
          const Floats x = normal(count * c.cols, 4);
          const Floats truth = tiled_product(kCodebookTilesModel, c, words, x, count, digits % 2 + 1);
          CHECK(difference(tiled_product(*kernel, c, words, x, count, digits % 2 + 1), truth) <= 2e-3);
        }
      }
    }
  }
}

TEST(codebook_outliers_and_what_is_not_finite) {
  const Case c(40, 2000, 8, 4);
  for (const std::size_t count : {1, 20}) {
    Floats x = normal(count * c.cols, 9);
    for (std::size_t i = 5; i < x.size(); i += 64) x[i] *= 20.0F;
    const Floats exact = product_of(*c.matrix(0), x, count);
    CHECK(difference(product_of(*c.matrix(1), x, count), exact) <= 2e-4);
    CHECK(difference(product_of(*c.matrix(4), x, count), exact) <= 2e-2);
    x.back() = std::numeric_limits<float>::infinity();
    for (const std::int64_t level : {1, 4}) {
      const Floats y = product_of(*c.matrix(level), x, count);
      for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isfinite(y[i]) == (i / c.rows + 1 != count));
    }
  }
  CHECK_REFUSED(c.matrix(2), "accuracy_level is 2");
}

}  // namespace
}  // namespace dtc::testing
