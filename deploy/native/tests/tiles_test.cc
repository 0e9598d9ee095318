// Tiles against the plain ones: the same bytes of x, the same tiles of weights, the same products.
#include <algorithm>
#include <vector>

#include "forms/binary_matrix.h"
#include "kernels/tile_tables.h"
#include "tests/binary_case.h"
#include "tests/check.h"
#include "tests/dense_reference.h"

using namespace dtc;
using namespace dtc::testing;

namespace {

/// The product of the first block of a case by a kernel, with numbers of x of one or two bytes.
Floats block_product(const TileKernel& kernel, const BinaryCase& c, const std::vector<TilePass>& passes,
                     const Floats& x, std::size_t count, int digits) {
  const BinarySpec& spec = c.spec;
  const std::size_t positions = (spec.cols + 7) / 8, groups = c.alphas_blocked.size() / (c.terms * spec.rows);
  const std::vector<TileSpan> spans = tile_spans(positions, c.group_size / 8, 24);
  TileInputs inputs(spans.back().tile + spans.back().tiles(), spans.size(), digits, count);
  inputs.build(count, spec.cols, Parallel(), [&](std::size_t column, std::size_t lower, const TileColumns& columns) {
    kernel.build(x.data() + column * spec.cols, spec.cols, spans.data(), spans.size(), digits, column, lower, columns);
  });
  const LutCodes codes{spec.bits, spec.masked, spec.constant, false, positions, nullptr, 0};
  const LutBlock block{c.blocked.data(), spec.rows * positions, c.alphas_blocked.data(), groups * spec.rows,
                       spec.rows,        c.blocked.data()};
  Floats y(count * static_cast<std::size_t>(digits) * kLutRows);
  kernel.begin(inputs.columns().count);
  kernel.multiply(codes, block, passes.data(), passes.size(), spans.data(), spans.size(), inputs.columns(), y.data(),
                  kLutRows);
  kernel.end();
  for (std::size_t i = 0; digits == 2 && i < count * kLutRows; ++i) y[i] += y[count * kLutRows + i];
  y.resize(count * kLutRows);
  return y;
}

bool same(const Floats& a, const Floats& b, float tolerance) {
  float most = 1e-20F, off = 0.0F;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::fabs(a[i]));
    off = std::max(off, std::fabs(a[i] - b[i]));
  }
  return off <= tolerance * most;
}

/// The kernel of this processor next to the plain one with the model of AMX's instructions. A number of x in the middle
/// between two may be rounded either way.
void check_against_model(const BinarySpec& spec, const std::vector<TilePass>& passes, std::size_t count, int digits) {
  const TileKernel* const kernel = tile_kernel();
  if (kernel == nullptr) return;
  const BinaryCase c(spec, static_cast<unsigned>(count));
  Floats x = normal(count * spec.cols, 5);
  const Floats truth = block_product(kTilesModel, c, passes, x, count, digits);
  CHECK(same(truth, block_product(*kernel, c, passes, x, count, digits), digits == 2 ? 1e-4F : 1e-2F));
}

TEST(tile_kernel_is_as_the_model_of_its_instructions) {
  for (const std::size_t count : {1, 5, 16, 17, 20, 32}) {
    for (const bool constant : {false, true}) {
      check_against_model({32, 200, 1, 0, false, constant}, {{0, 1, false}}, count, 1);
      check_against_model({32, 331, 2, 0, false, constant}, {{0, 1, true}, {1, 1, true}}, count, 2);
      check_against_model({32, 331, 2, 64, false, constant}, {{0, 2, false}}, count, 2);
      check_against_model({32, 331, 3, 136, true, constant}, {{0, 3, false}}, count, 1);
      check_against_model({32, 331, 6, 72, false, constant}, {{0, 4, false}, {4, 2, false}}, count, 1);
      std::vector<TilePass> masked = {{0, 1, true}};
      if (constant) masked.push_back({0, 0, true});
      check_against_model({32, 129, 1, 0, true, constant}, masked, count, 2);
    }
  }
}

TEST(tile_products_of_one_column_more_than_fit) {
  for (const std::size_t count : {63, 64, 65, 130}) {
    for (const std::int64_t accuracy : {1, 4}) {
      const BinaryCase c({45, 77, 2, 0, false, true});
      const auto matrix =
          BinaryMatrix::make(c.codes(), c.alphas(), 2, 77, static_cast<std::int64_t>(c.group_size), accuracy);
      const Floats x = normal(count * 77, 3), all = product_of(*matrix, x, count);
      const Floats last = product_of(*matrix, Floats(x.end() - 32 * 77, x.end()), 32);
      CHECK(same(last, Floats(all.end() - 32 * 45, all.end()), 1e-5F));
    }
  }
}

TEST(tile_products_of_batches_stand_outliers) {
  const BinaryCase c({200, 4096, 2});
  Floats x = normal(20 * 4096, 7);
  for (std::size_t i = 5; i < x.size(); i += 64) x[i] *= 20.0F;
  for (const std::int64_t accuracy : {1, 4}) {
    const auto matrix =
        BinaryMatrix::make(c.codes(), c.alphas(), 2, 4096, static_cast<std::int64_t>(c.group_size), accuracy);
    const auto exact = BinaryMatrix::make(c.codes(), c.alphas(), 2, 4096, static_cast<std::int64_t>(c.group_size), 0);
    const Floats truth = product_of(*exact, x, 20), y = product_of(*matrix, x, 20);
    double off = 0.0, size = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      off += std::pow(static_cast<double>(y[i] - truth[i]), 2);
      size += std::pow(static_cast<double>(truth[i]), 2);
    }
    CHECK(std::sqrt(off / size) <= (accuracy == 1 ? 1e-4 : 2e-2));
  }
}

}  // namespace
