#include "forms/csr_matrix.h"

#include <algorithm>
#include <string>
#include <utility>

namespace dtc {
namespace {

// Calls body(array) with the columns or row pointers in their own type.
template <typename Body>
void with_unsigned(Type type, const void* data, const Body& body) {
  if (type == Type::u8)
    body(static_cast<const std::uint8_t*>(data));
  else if (type == Type::u16)
    body(static_cast<const std::uint16_t*>(data));
  else
    body(static_cast<const std::uint32_t*>(data));
}

template <typename Body>
void with_columns(const SparseWeight& weight, const Body& body) {
  const Type types[] = {Type::u8, Type::u16, Type::u32};
  with_unsigned(types[static_cast<int>(weight.column)], weight.arrays.columns, body);
}

void check_pointers(const std::uint32_t* pointers, std::size_t rows, std::size_t count) {
  require(pointers[0] == 0, "row_pointers begins with " + std::to_string(pointers[0]) + ", not with 0");
  for (std::size_t row = 0; row < rows; ++row)
    require(pointers[row] <= pointers[row + 1], "row_pointers falls behind row " + std::to_string(row));
  require(pointers[rows] == count, "row_pointers ends with " + std::to_string(pointers[rows]) + ", but there are " +
                                       std::to_string(count) + " values");
}

void check_columns(const SparseWeight& weight) {
  with_columns(weight, [&](const auto* columns) {
    std::uint32_t largest = 0;
    for (std::size_t i = 0; i < weight.arrays.count; ++i) largest = std::max<std::uint32_t>(largest, columns[i]);
    require(weight.arrays.count == 0 || largest < weight.cols, "columns holds " + std::to_string(largest) +
                                                                   ", but the weight has " +
                                                                   std::to_string(weight.cols) + " columns");
  });
}

}  // namespace

CsrArray::CsrArray(const Tensor& values, const Tensor& columns, const Tensor& row_pointers, std::int64_t cols) {
  require(values, "values", {Type::f32, Type::f16}, 1);
  require(columns, "columns", {Type::u8, Type::u16, Type::u32}, 1);
  require(row_pointers, "row_pointers", {Type::u8, Type::u16, Type::u32}, 1);
  require(cols >= 0 && cols <= INT32_MAX, "cols is " + std::to_string(cols) + ", not a number of columns");
  require(columns.count == values.count,
          "columns has shape " + text(columns.shape) + ", but values has shape " + text(values.shape));
  require(row_pointers.count > 0, "row_pointers is empty");

  weight_.rows = row_pointers.count - 1;
  weight_.cols = static_cast<std::size_t>(cols);
  weight_.value = values.type == Type::f32 ? CsrValue::f32 : CsrValue::f16;
  weight_.column = columns.type == Type::u8    ? CsrColumn::u8
                   : columns.type == Type::u16 ? CsrColumn::u16
                                               : CsrColumn::u32;
  weight_.arrays.values = values.data;
  weight_.arrays.columns = columns.data;
  weight_.arrays.count = values.count;
  weight_.arrays.row_begins = row_pointers.as<std::uint32_t>();
  if (row_pointers.type != Type::u32) {
    with_unsigned(row_pointers.type, row_pointers.data,
                  [&](const auto* pointers) { row_begins_.assign(pointers, pointers + row_pointers.count); });
    weight_.arrays.row_begins = row_begins_.data();
  }
  check_pointers(weight_.arrays.row_begins, weight_.rows, values.count);
  check_columns(weight_);
}

CsrMatrix::CsrMatrix(CsrArray array) : Matrix(array.rows(), array.cols()), array_(std::move(array)) {}

std::unique_ptr<Matrix> CsrMatrix::make(const Tensor& values, const Tensor& columns, const Tensor& row_pointers,
                                        std::int64_t cols) {
  return std::make_unique<CsrMatrix>(CsrArray(values, columns, row_pointers, cols));
}

void CsrMatrix::multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  dtc::multiply(array_.weight(), x, count, y, parallel);
}

CsrRows::CsrRows(CsrArray array) : Rows(array.rows(), array.cols()), array_(std::move(array)) {}

std::unique_ptr<Rows> CsrRows::make(const Tensor& values, const Tensor& columns, const Tensor& row_pointers,
                                    std::int64_t cols) {
  return std::make_unique<CsrRows>(CsrArray(values, columns, row_pointers, cols));
}

void CsrRows::decode(std::size_t row, float* out) const {
  const SparseWeight& weight = array_.weight();
  std::fill_n(out, cols(), 0.0f);
  const std::size_t begin = weight.arrays.row_begins[row], end = weight.arrays.row_begins[row + 1];
  with_columns(weight, [&](const auto* columns) {
    for (std::size_t i = begin; i < end; ++i) out[columns[i]] = value_of(weight, i);
  });
}

}  // namespace dtc
