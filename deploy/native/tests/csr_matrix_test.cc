#include "forms/csr_matrix.h"

#include "tests/sparse_example.h"

namespace dtc::testing {
namespace {

constexpr std::size_t kCounts[] = {0, 1, 2, 3, 7, 8, 20, 33};

std::unique_ptr<Matrix> matrix_of(const SparseExample& s, bool half, Type columns) {
  return CsrMatrix::make(s.value_tensor(half), s.column_tensor(columns), s.pointer_tensor(), s.cols_attribute());
}

void check_all(const SparseExample& s) {
  for (const bool half : {false, true}) {
    for (const Type columns : {Type::u8, Type::u16, Type::u32}) {
      if (columns == Type::u8 && s.cols > 256) continue;
      const auto matrix = matrix_of(s, half, columns);
      for (const std::size_t count : kCounts) check_product(*matrix, s.dense, count);
      check_rows(*CsrRows::make(s.value_tensor(half), s.column_tensor(columns), s.pointer_tensor(), s.cols_attribute()),
                 s.dense);
    }
  }
}

auto uniform(double density) {
  return [=](std::size_t) { return density; };
}

TEST(csr_products_of_every_size) {
  for (const std::size_t cols : {1, 2, 7, 8, 31, 64, 65, 250})
    for (const std::size_t rows : {1, 3, 9, 40}) check_all(SparseExample(rows, cols, uniform(0.3)));
  check_all(SparseExample(131, 650, uniform(0.1)));
  check_all(SparseExample(70, 333, uniform(0.02)));
}

TEST(csr_products_of_many_columns) {
  check_all(SparseExample(140, 1500, uniform(0.1)));
  const SparseExample wide(5, 70001, uniform(0.01));
  const auto matrix = matrix_of(wide, true, Type::u32);
  for (const std::size_t count : kCounts) check_product(*matrix, wide.dense, count);
}

TEST(csr_rows_empty_and_full) {
  check_all(SparseExample(50, 200, [](std::size_t row) { return row == 20 ? 1.0 : 0.0; }));
  check_all(SparseExample(50, 1600, [](std::size_t row) { return row % 7 == 0 ? 1.0 : 0.0; }));
  check_all(SparseExample(50, 77, uniform(0)));
  check_all(SparseExample(50, 77, uniform(1)));
}

TEST(csr_without_rows_or_columns) {
  check_all(SparseExample(0, 12, uniform(1)));
  check_all(SparseExample(5, 0, uniform(1)));
  check_all(SparseExample(0, 0, uniform(1)));
}

TEST(csr_products_in_pieces) {
  const SparseExample s(900, 1100, [](std::size_t row) { return row < 30 ? 1.0 : 0.1; });
  const auto matrix = matrix_of(s, false, Type::u16);
  for (const std::size_t count : {1, 2, 8, 70}) check_product(*matrix, s.dense, count, reversed());
}

TEST(csr_not_finite_x_stays_where_it_is) {
  const SparseExample small(61, 130, uniform(0.2)), large(150, 1200, uniform(0.1));
  for (const std::size_t count : {1, 2, 3, 20}) {
    check_not_finite(*matrix_of(small, false, Type::u8), small.dense, count);
    check_not_finite(*matrix_of(large, false, Type::u16), large.dense, count);
  }
}

TEST(csr_halves_of_every_kind) {
  const std::vector<std::uint16_t> halves = {0x0001, 0x03ff, 0x0400, 0x7bff, 0x8001, 0xfc00, 0x7c00, 0x3c00, 0xbc00};
  const float floats[] = {0x1p-24f, 0x3ffp-24f, 0x1p-14f, 65504.0f, -0x1p-24f, -HUGE_VALF, HUGE_VALF, 1.0f, -1.0f};
  std::vector<std::uint8_t> columns, pointers;
  for (std::uint8_t i = 0; i < 9; ++i) columns.push_back(0);
  for (std::uint8_t i = 0; i < 10; ++i) pointers.push_back(i);
  const Tensor values = tensor(Type::f16, {9}, halves), zeros = tensor(Type::u8, {9}, columns),
               begins = tensor(Type::u8, {10}, pointers);
  const auto matrix = CsrMatrix::make(values, zeros, begins, 1);
  const auto rows = CsrRows::make(values, zeros, begins, 1);
  for (const std::size_t count : {1, 5}) {
    const std::vector<float> x(count, 1.0f);
    std::vector<float> y(count * 9);
    matrix->multiply(x.data(), count, y.data(), {});
    for (std::size_t row = 0; row < 9; ++row) {
      CHECK(y[row] == floats[row]);
      float decoded;
      rows->decode(row, &decoded);
      CHECK(decoded == floats[row]);
    }
  }
}

TEST(csr_columns_in_any_order_add_up) {
  const std::size_t cols = 1300;
  std::vector<float> values(3 * 500), dense(3 * cols);
  std::vector<std::uint16_t> columns;
  const std::vector<std::uint16_t> pointers = {0, 500, 1000, 1500};
  for (std::size_t i = 0; i < values.size(); ++i) {
    columns.push_back(static_cast<std::uint16_t>((i * 7919 + 11) % cols));
    values[i] = static_cast<float>(i % 17) - 8;
    dense[i / 500 * cols + columns[i]] += values[i];
  }
  const auto matrix = CsrMatrix::make(tensor(Type::f32, {1500}, values), tensor(Type::u16, {1500}, columns),
                                      tensor(Type::u16, {4}, pointers), cols);
  for (const std::size_t count : kCounts) check_product(*matrix, dense, count);
}

// Three values in two rows of four columns, of which one array is then spoilt.
struct Small {
  std::vector<float> values = {1, 2, 3};
  std::vector<std::uint16_t> columns = {0, 3, 1};
  std::vector<std::uint32_t> pointers = {0, 2, 3};
  std::int64_t cols = 4;

  void make() const {
    const auto size = [](const auto& v) { return static_cast<std::int64_t>(v.size()); };
    const Tensor v = tensor(Type::f32, {size(values)}, values), c = tensor(Type::u16, {size(columns)}, columns),
                 p = tensor(Type::u32, {size(pointers)}, pointers);
    CsrRows::make(v, c, p, cols);
    CsrMatrix::make(v, c, p, cols);
  }
};

TEST(csr_refuses_what_points_outside) {
  Small good;
  good.make();
  const auto with = [](auto change) {
    Small small;
    change(small);
    small.make();
  };
  CHECK_REFUSED(with([](Small& s) { s.cols = 3; }), "columns holds 3, but the weight has 3 columns");
  CHECK_REFUSED(with([](Small& s) { s.cols = 0; }), "columns holds 3");
  CHECK_REFUSED(with([](Small& s) { s.cols = -1; }), "cols is -1");
  CHECK_REFUSED(with([](Small& s) { s.cols = INT64_MAX; }), "cols is");
  CHECK_REFUSED(with([](Small& s) { s.columns[2] = 65535; }), "columns holds 65535");
  CHECK_REFUSED(with([](Small& s) { s.columns.pop_back(); }), "columns has shape [2]");
  CHECK_REFUSED(with([](Small& s) { s.pointers[0] = 1; }), "row_pointers begins with 1");
  CHECK_REFUSED(with([](Small& s) { s.pointers[1] = 4; }), "row_pointers falls behind row 1");
  CHECK_REFUSED(with([](Small& s) { s.pointers[1] = 4000000000; }), "row_pointers falls");
  CHECK_REFUSED(with([](Small& s) { s.pointers[2] = 2; }), "row_pointers ends with 2, but there are 3 values");
  CHECK_REFUSED(with([](Small& s) { s.pointers.push_back(4000000000); }), "row_pointers ends with 4000000000");
  CHECK_REFUSED(with([](Small& s) { s.pointers.clear(); }), "row_pointers is empty");
  CHECK_REFUSED(with([](Small& s) { s.pointers = {0}; }), "row_pointers ends with 0");
}

TEST(csr_refuses_other_types_and_shapes) {
  const std::vector<float> floats = {1, 2};
  const std::vector<std::uint8_t> bytes = {0, 1};
  const std::vector<std::uint32_t> ends = {0, 2};
  const Tensor v = tensor(Type::f32, {2}, floats), c = tensor(Type::u8, {2}, bytes), p = tensor(Type::u32, {2}, ends);
  CHECK_REFUSED(CsrMatrix::make(c, c, p, 2), "values has element type 2");
  CHECK_REFUSED(CsrMatrix::make(v, tensor(Type::i64, {2}, bytes), p, 2), "columns has element type 7");
  CHECK_REFUSED(CsrMatrix::make(v, c, tensor(Type::i32, {2}, ends), 2), "row_pointers has element type 6");
  CHECK_REFUSED(CsrMatrix::make(tensor(Type::f32, {1, 2}, floats), c, p, 2), "values has shape [1, 2]");
  CHECK_REFUSED(CsrMatrix::make({}, c, p, 2), "values is missing");
}

}  // namespace
}  // namespace dtc::testing
