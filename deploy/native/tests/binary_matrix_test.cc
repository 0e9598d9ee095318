#include "forms/binary_matrix.h"

#include <algorithm>
#include <limits>
#include <string>
#include <thread>

#include "tests/binary_case.h"
#include "tests/check.h"

using namespace dtc;
using namespace dtc::testing;

namespace {

std::unique_ptr<Matrix> matrix_of(const BinaryCase& c, std::int64_t accuracy) {
  return BinaryMatrix::make(c.codes(), c.alphas(), static_cast<std::int64_t>(c.spec.bits),
                            static_cast<std::int64_t>(c.spec.cols), static_cast<std::int64_t>(c.group_size), accuracy);
}

std::vector<float> normal(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> numbers;
  std::vector<float> out(count);
  for (float& number : out) number = numbers(random);
  return out;
}

/// What a product is, from the definition.
class Reference {
 public:
  Reference(const BinaryCase& c, const std::vector<float>& x, std::size_t count) {
    const std::size_t cols = c.spec.cols;
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t r = 0; r < c.spec.rows; ++r) {
        double sum = 0.0;
        for (std::size_t k = 0; k < cols; ++k) {
          const double term = c.weight[r * cols + k] * static_cast<double>(x[i * cols + k]);
          sum += term;
          size_ += term * term;
        }
        sums_.push_back(sum);
      }
    }
  }

  /// The error of a product, as a share of the root of the sum of squares of its terms: what a sum of terms of random
  /// sign comes to, however they cancel here.
  double error_of(const std::vector<float>& y) const {
    double error = 0.0;
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      const double off = static_cast<double>(y[i]) - sums_[i];
      error += off * off;
    }
    return std::sqrt(error / size_);
  }

 private:
  std::vector<double> sums_;
  double size_ = 1e-30;
};

/// A random product, drawn once for all accuracies.
class Product {
 public:
  Product(const BinarySpec& spec, std::size_t count)
      : case_(spec, static_cast<unsigned>(spec.rows * 31 + spec.cols + count)),
        count_(count),
        x_(normal(count * spec.cols, 7)),
        reference_(case_, x_, count) {}

  void check(std::int64_t accuracy, double tolerance) const {
    const BinarySpec& spec = case_.spec;
    std::vector<float> y(count_ * spec.rows + 1, 12345.0F);
    matrix_of(case_, accuracy)->multiply(x_.data(), count_, y.data(), Parallel());
    CHECK(y.back() == 12345.0F);
    const double error = reference_.error_of(y);
    if (!(error <= tolerance)) {
      std::fprintf(stderr,
                   "rows %zu cols %zu bits %zu group %zu mask %d constant %d half %d count %zu accuracy %d: %g\n",
                   spec.rows, spec.cols, spec.bits, case_.group_size, spec.masked, spec.constant, spec.half, count_,
                   static_cast<int>(accuracy), error);
    }
    CHECK(error <= tolerance);
  }

 private:
  BinaryCase case_;
  std::size_t count_;
  std::vector<float> x_;
  Reference reference_;
};

/// At every accuracy. The tolerances leave room for the few roundings of a short row, and for masks, which take from
/// the product more than from the rounding.
void check_all(const BinarySpec& spec, std::size_t count) {
  const Product product(spec, count);
  product.check(0, 3e-6);
  product.check(1, 2e-4);
  product.check(4, 5e-2);
}

const std::size_t kCounts[] = {1, 2, 3, 7, 8, 20, 33};

TEST(binary_products_of_many_sizes) {
  for (const std::size_t rows : {1, 3, 31, 32, 33, 63, 64, 65, 130}) {
    for (const std::size_t cols : {1, 7, 8, 9, 33, 127, 128, 264, 1031}) {
      check_all({rows, cols, 1}, 1);
      check_all({rows, cols, 2}, 3);
    }
  }
}

TEST(binary_products_of_every_count_and_bit) {
  for (const std::size_t count : kCounts) {
    for (std::size_t bits = 1; bits <= 8; ++bits) check_all({97, 203, bits}, count);
  }
}

TEST(binary_products_with_groups) {
  for (const std::size_t count : {1, 2, 9, 33}) {
    for (const std::size_t group_size : {8, 16, 24, 64, 128, 136, 200, 1024}) {
      check_all({70, 601, 2, group_size}, count);
      check_all({70, 600, 3, group_size, false, true, true}, count);
    }
  }
}

TEST(binary_products_with_masks_and_constants) {
  for (const std::size_t count : kCounts) {
    for (const std::size_t bits : {1, 2, 3, 7}) {
      for (const bool masked : {false, true}) {
        for (const bool constant : {false, true}) {
          for (const bool half : {false, true}) check_all({75, 301, bits, 64, masked, constant, half}, count);
          check_all({75, 301, bits, 0, masked, constant}, count);
        }
      }
    }
  }
}

TEST(binary_products_of_large_weights) {
  const Product one({1000, 3001, 1}, 1);
  one.check(4, 1e-2);
  one.check(1, 5e-5);
  Product({1000, 3001, 2}, 5).check(4, 1e-2);
  Product({1000, 3001, 2, 128, false, false, true}, 20).check(1, 5e-5);
  Product({1000, 3001, 3}, 3).check(0, 1e-6);
  Product({500, 3001, 3}, 33).check(0, 1e-6);
}

TEST(binary_tables_stand_outliers) {
  const BinaryCase c({200, 4096, 2});
  std::vector<float> x = normal(4096, 7), y(200);
  for (std::size_t i = 5; i < x.size(); i += 64) x[i] *= 20.0F;
  const Reference reference(c, x, 1);
  const double tolerances[] = {1e-6, 1e-4, 2e-2};
  const std::int64_t levels[] = {0, 1, 4};
  for (int i = 0; i < 3; ++i) {
    matrix_of(c, levels[i])->multiply(x.data(), 1, y.data(), Parallel());
    CHECK(reference.error_of(y) <= tolerances[i]);
  }
}

TEST(binary_masked_weights_stay_accurate) {
  BinarySpec spec{400, 2000, 1, 0, true};
  spec.kept = 0.1;
  const Product one(spec, 1);
  one.check(1, 1e-4);
  one.check(0, 2e-6);
  Product(spec, 20).check(1, 1e-4);
}

TEST(binary_row_that_is_masked_wholly_is_nothing) {
  BinarySpec spec{40, 700, 2, 0, true, true};
  spec.kept = 0.0;
  const BinaryCase c(spec);
  const std::vector<float> x = normal(spec.cols, 3);
  for (const std::int64_t accuracy : {0, 1, 4}) {
    std::vector<float> y(spec.rows, 1.0F);
    matrix_of(c, accuracy)->multiply(x.data(), 1, y.data(), Parallel());
    for (const float value : y) CHECK(std::fabs(value) < 1e-4F);
  }
}

TEST(binary_pad_bits_do_not_matter) {
  BinaryCase c({40, 13, 1});
  const std::vector<float> x = normal(13 * 20, 3);
  for (const std::int64_t accuracy : {0, 1, 4}) {
    for (const std::size_t count : {1, 20}) {
      std::vector<float> before(40 * count), after(40 * count);
      matrix_of(c, accuracy)->multiply(x.data(), count, before.data(), Parallel());
      for (std::size_t i = 32; i < 64; ++i) c.blocked[i] ^= 0xE0;
      matrix_of(c, accuracy)->multiply(x.data(), count, after.data(), Parallel());
      CHECK(before == after);
    }
  }
}

void run_backwards(void*, Parallel::Task task, std::size_t pieces, void* data) {
  for (std::size_t piece = pieces; piece-- > 0;) task(data, piece);
}

void run_on_threads(void* calls, Parallel::Task task, std::size_t pieces, void* data) {
  *static_cast<std::size_t*>(calls) += pieces;
  std::vector<std::thread> threads;
  for (std::size_t piece = 0; piece < pieces; ++piece) threads.emplace_back(task, data, piece);
  for (std::thread& thread : threads) thread.join();
}

TEST(binary_pieces_in_any_order_and_on_threads) {
  for (const std::int64_t accuracy : {0, 1, 4}) {
    const BinaryCase c({1000, 1111, 3, 128, false, true});
    const std::unique_ptr<Matrix> matrix = matrix_of(c, accuracy);
    const std::vector<float> x = normal(1111 * 21, 3);
    std::vector<float> alone(1000 * 21), backwards(1000 * 21), threads(1000 * 21);
    std::size_t calls = 0;
    matrix->multiply(x.data(), 21, alone.data(), Parallel());
    matrix->multiply(x.data(), 21, backwards.data(), Parallel(run_backwards, nullptr));
    matrix->multiply(x.data(), 21, threads.data(), Parallel(run_on_threads, &calls));
    CHECK(calls >= 4);
    CHECK(alone == backwards);
    CHECK(alone == threads);
  }
}

TEST(binary_products_of_what_is_not_finite) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const BinaryCase c({70, 300, 2, 64, false, true});
  for (const std::int64_t accuracy : {0, 1, 4}) {
    const std::unique_ptr<Matrix> matrix = matrix_of(c, accuracy);
    for (const std::size_t count : {1, 2, 3, 20}) {
      for (const float bad : {inf, -inf, nan}) {
        std::vector<float> x = normal(300 * count, 3), y(70 * count), good(70 * count);
        matrix->multiply(x.data(), count, good.data(), Parallel());
        x[(count - 1) * 300 + 299] = bad;
        matrix->multiply(x.data(), count, y.data(), Parallel());
        CHECK(std::equal(y.begin(), y.end() - 70, good.begin()));
        CHECK(std::none_of(y.end() - 70, y.end(), [](float value) { return std::isfinite(value); }));
      }
    }
  }
}

TEST(binary_products_of_tiny_and_huge_numbers) {
  const BinaryCase c({40, 64, 1});
  for (const std::int64_t accuracy : {0, 1, 4}) {
    const std::unique_ptr<Matrix> matrix = matrix_of(c, accuracy);
    for (const float scale : {0.0F, 1e-42F, 1e-36F, 1e-20F, 1e30F}) {
      std::vector<float> x = normal(64, 3), unit(40), y(40);
      matrix->multiply(x.data(), 1, unit.data(), Parallel());
      for (float& value : x) value *= scale;
      matrix->multiply(x.data(), 1, y.data(), Parallel());
      for (std::size_t r = 0; r < 40; ++r) {
        CHECK_NEAR(static_cast<double>(y[r]), static_cast<double>(unit[r]) * static_cast<double>(scale),
                   1e-29 + 2.0 * static_cast<double>(scale));
      }
    }
  }
}

TEST(binary_sums_of_long_rows_fit_their_numbers) {
  const std::size_t cols = 300000;  // with the largest entries and weights everywhere, more than 32 bits hold
  const std::vector<std::uint8_t> codes(cols / 8, 255);
  const std::vector<float> alphas(1, 1.0F), x(cols, 1.0F);
  for (const std::int64_t accuracy : {0, 1, 4}) {
    float y = 0.0F;
    BinaryMatrix::make(tensor_of(Type::u8, {1, cols / 8}, codes.data()), tensor_of(Type::f32, {1, 1, 1}, alphas.data()),
                       1, static_cast<std::int64_t>(cols), static_cast<std::int64_t>(cols), accuracy)
        ->multiply(x.data(), 1, &y, Parallel());
    CHECK_NEAR(static_cast<double>(y), 3e5, 30.0);
  }
}

TEST(binary_products_with_nothing) {
  for (const std::int64_t accuracy : {0, 1, 4}) {
    float none = 5.0F;
    matrix_of(BinaryCase({40, 16, 2}), accuracy)->multiply(nullptr, 0, &none, Parallel());
    matrix_of(BinaryCase({0, 16, 2}), accuracy)->multiply(nullptr, 3, &none, Parallel());
    CHECK(none == 5.0F);
  }
  const BinaryCase c({3, 8, 1});
  std::vector<float> y(6, 5.0F);
  const std::unique_ptr<Matrix> empty =
      BinaryMatrix::make(tensor_of(Type::u8, {1, 0}, nullptr), tensor_of(Type::f32, {1, 0, 3}, nullptr), 1, 0, 8, 1);
  empty->multiply(nullptr, 2, y.data(), Parallel());
  CHECK(std::all_of(y.begin(), y.end(), [](float value) { return value == 0.0F; }));
}

TEST(binary_rows_are_exact) {
  for (const bool masked : {false, true}) {
    for (const bool half : {false, true}) {
      for (const std::size_t cols : {1, 8, 13, 200}) {
        for (const std::size_t bits : {1, 2, 7}) {
          const BinaryCase c({37, cols, bits, 16, masked, bits == 2, half});
          const std::unique_ptr<Rows> rows =
              BinaryRows::make(c.canonical_codes(), c.canonical_alphas(), static_cast<std::int64_t>(bits),
                               static_cast<std::int64_t>(cols), 16);
          std::vector<float> out(cols + 1, 12345.0F);
          for (std::size_t r = 0; r < 37; ++r) {
            rows->decode(r, out.data());
            // Whole numbers of 1/256 have no rounding.
            for (std::size_t k = 0; k < cols; ++k) CHECK(static_cast<double>(out[k]) == c.weight[r * cols + k]);
          }
          CHECK(out.back() == 12345.0F);
        }
      }
    }
  }
}

TEST(binary_halves_are_read_exactly) {
  // 1, -2, the largest, the smallest normal, the smallest of all, and one below 1.
  const std::uint16_t halves[] = {0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x3BFF, 0x7C00};
  const float floats[] = {1.0F, -2.0F, 65504.0F, 0x1p-14F, 0x1p-24F, 1.0F - 0x1p-11F, 1.0F / 0.0F};
  const std::uint8_t ones[7] = {1, 1, 1, 1, 1, 1, 1};
  const std::unique_ptr<Rows> rows =
      BinaryRows::make(tensor_of(Type::u8, {1, 7, 1}, ones), tensor_of(Type::f16, {1, 7, 1}, halves), 1, 1, 8);
  for (std::size_t r = 0; r < 7; ++r) {
    float value;
    rows->decode(r, &value);
    CHECK(value == floats[r]);
  }
}

}  // namespace
