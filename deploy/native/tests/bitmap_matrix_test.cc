#include "forms/bitmap_matrix.h"

#include "tests/sparse_example.h"

namespace dtc::testing {
namespace {

constexpr std::size_t kCounts[] = {0, 1, 2, 3, 7, 8, 20, 33};

std::unique_ptr<Matrix> matrix_of(const SparseExample& s, bool half = false) {
  return BitmapMatrix::make(s.value_tensor(half), s.bitmap_tensor(), s.cols_attribute());
}

void check_all(const SparseExample& s) {
  for (const bool half : {false, true}) {
    const auto matrix = matrix_of(s, half);
    for (const std::size_t count : kCounts) check_product(*matrix, s.dense, count);
    check_rows(*BitmapRows::make(s.value_tensor(half), s.bitmap_tensor(), s.cols_attribute()), s.dense);
  }
}

auto uniform(double density) {
  return [=](std::size_t) { return density; };
}

TEST(bitmap_products_of_every_size) {
  for (const std::size_t cols : {1, 2, 7, 8, 9, 31, 64, 65, 255, 256, 257})
    for (const std::size_t rows : {1, 3, 9, 40}) check_all(SparseExample(rows, cols, uniform(0.3)));
  check_all(SparseExample(131, 650, uniform(0.1)));
  check_all(SparseExample(140, 1500, uniform(0.05)));
  check_all(SparseExample(33, 1025, uniform(0.5)));
}

TEST(bitmap_wider_than_16_bits) { check_all(SparseExample(5, 70001, uniform(0.01))); }

TEST(bitmap_rows_empty_and_full) {
  check_all(SparseExample(50, 700, [](std::size_t row) { return row == 20 ? 1.0 : 0.0; }));
  check_all(SparseExample(50, 77, uniform(0)));
  check_all(SparseExample(50, 600, uniform(1)));
}

TEST(bitmap_without_rows_or_columns) {
  check_all(SparseExample(0, 12, uniform(1)));
  check_all(SparseExample(5, 0, uniform(1)));
  check_all(SparseExample(0, 0, uniform(1)));
}

TEST(bitmap_products_in_pieces) {
  const SparseExample s(900, 1100, [](std::size_t row) { return row < 30 ? 1.0 : 0.1; });
  const auto matrix = matrix_of(s);
  for (const std::size_t count : {1, 2, 8, 70}) check_product(*matrix, s.dense, count, reversed());
}

TEST(bitmap_not_finite_x_stays_where_it_is) {
  const SparseExample s(150, 800, uniform(0.1));
  for (const std::size_t count : {1, 2, 3, 20}) check_not_finite(*matrix_of(s), s.dense, count);
}

TEST(bitmap_refuses_what_does_not_fit) {
  const std::vector<float> floats = {1, 2, 3};
  const std::vector<std::uint8_t> bits = {0x81, 0x01, 0x00, 0x00};
  const Tensor values = tensor(Type::f32, {3}, floats);
  const auto make = [](const Tensor& v, const Tensor& b, std::int64_t cols) {
    BitmapRows::make(v, b, cols);
    BitmapMatrix::make(v, b, cols);
  };
  const Tensor bitmap = tensor(Type::u8, {2, 2}, bits);
  make(values, bitmap, 9);
  CHECK_REFUSED(make(values, bitmap, 8), "bitmap has shape [2, 2], but rows of 8 columns take 1 bytes");
  CHECK_REFUSED(make(values, bitmap, 17), "rows of 17 columns take 3 bytes");
  CHECK_REFUSED(make(values, bitmap, -9), "cols is -9");
  CHECK_REFUSED(make(values, bitmap, INT64_MAX), "cols is");
  CHECK_REFUSED(make(values, tensor(Type::u8, {4, 1}, bits), 7), "bits behind the last column of row 0");
  CHECK_REFUSED(make(values, tensor(Type::u8, {4}, bits), 8), "bitmap has shape [4]");
  CHECK_REFUSED(make(values, tensor(Type::i8, {2, 2}, bits), 9), "bitmap has element type 3");
  CHECK_REFUSED(make(tensor(Type::f32, {4}, std::vector<float>{1, 2, 3, 4}), bitmap, 9),
                "bitmap has 3 bits set, but there are 4 values");
  CHECK_REFUSED(make(tensor(Type::f32, {2}, std::vector<float>{1, 2}), bitmap, 9),
                "bitmap has more bits set than there are values, 2");
  CHECK_REFUSED(make(tensor(Type::f32, {0}, std::vector<float>()), tensor(Type::u8, {INT64_MAX / 2, 0}, bits), 0),
                "no columns");
}

}  // namespace
}  // namespace dtc::testing
