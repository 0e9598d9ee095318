#include "forms/bitmap_matrix.h"

#include <algorithm>
#include <string>
#include <utility>

namespace dtc {
namespace {

// Rows without columns take no bytes in a model, but some here.
constexpr std::int64_t kMostEmptyRows = 1 << 20;

// Calls body(column) for every bit of a row that is set, in rising order.
template <typename Body>
void for_each_bit(const std::uint8_t* bits, std::size_t bytes, const Body& body) {
  for (std::size_t byte = 0; byte < bytes; ++byte)
    for (unsigned left = bits[byte]; left != 0; left &= left - 1)
      body(byte * 8 + static_cast<std::size_t>(__builtin_ctz(left)));
}

std::size_t bits_set(const std::uint8_t* bits, std::size_t bytes) {
  std::size_t set = 0;
  for (std::size_t byte = 0; byte < bytes; ++byte) set += static_cast<std::size_t>(__builtin_popcount(bits[byte]));
  return set;
}

}  // namespace

BitmapArray::BitmapArray(const Tensor& values, const Tensor& bitmap, std::int64_t cols) {
  require(values, "values", {Type::f32, Type::f16}, 1);
  require(bitmap, "bitmap", {Type::u8}, 2);
  require(cols >= 0 && cols <= INT32_MAX, "cols is " + std::to_string(cols) + ", not a number of columns");
  require(bitmap.shape[1] == (cols + 7) / 8, "bitmap has shape " + text(bitmap.shape) + ", but rows of " +
                                                 std::to_string(cols) + " columns take " +
                                                 std::to_string((cols + 7) / 8) + " bytes");
  require(cols > 0 || bitmap.shape[0] <= kMostEmptyRows, "bitmap has shape " + text(bitmap.shape) + " and no columns");
  require(values.count <= UINT32_MAX, "values has shape " + text(values.shape) + ", more than 32 bits can count");
  rows_ = static_cast<std::size_t>(bitmap.shape[0]);
  cols_ = static_cast<std::size_t>(cols);
  stride_ = static_cast<std::size_t>(bitmap.shape[1]);
  value_ = values.type == Type::f32 ? CsrValue::f32 : CsrValue::f16;
  values_ = values.data;
  bitmap_ = bitmap.as<std::uint8_t>();

  std::size_t set = 0;
  row_begins_.reserve(rows_ + 1);
  row_begins_.push_back(0);
  for (std::size_t row = 0; row < rows_; ++row) {
    require(cols_ % 8 == 0 || bits(row)[stride_ - 1] >> cols_ % 8 == 0,
            "bitmap has bits behind the last column of row " + std::to_string(row));
    set += bits_set(bits(row), stride_);
    require(set <= values.count, "bitmap has more bits set than there are values, " + std::to_string(values.count));
    row_begins_.push_back(static_cast<std::uint32_t>(set));
  }
  require(set == values.count,
          "bitmap has " + std::to_string(set) + " bits set, but there are " + std::to_string(values.count) + " values");
}

BitmapMatrix::BitmapMatrix(BitmapArray array)
    : Matrix(array.rows(), array.cols()),
      array_(std::move(array)),
      columns_(new std::uint8_t[array_.count() + kCsrSlack]()),
      block_counts_(rows() * ((cols() + kCsrBlock - 1) / kCsrBlock)) {
  weight_.value = array_.value();
  weight_.column = cols() <= kCsrBlock ? CsrColumn::u8 : cols() <= 65536 ? CsrColumn::block_u16 : CsrColumn::block_u32;
  weight_.rows = rows();
  weight_.cols = cols();
  weight_.arrays.values = array_.values();
  weight_.arrays.columns = columns_.get();
  weight_.arrays.row_begins = array_.row_begins();
  weight_.arrays.block_counts = block_counts_.data();
  weight_.arrays.blocks = rows() == 0 ? 0 : block_counts_.size() / rows();
  weight_.arrays.count = array_.count();
  std::uint8_t* next = columns_.get();
  for (std::size_t row = 0; row < rows(); ++row) {
    std::uint16_t* const counts = block_counts_.data() + row * weight_.arrays.blocks;
    for_each_bit(array_.bits(row), (cols() + 7) / 8, [&](std::size_t column) {
      *next++ = static_cast<std::uint8_t>(column % kCsrBlock);
      ++counts[column / kCsrBlock];
    });
    weight_.longest_row =
        std::max<std::size_t>(weight_.longest_row, array_.row_begins()[row + 1] - array_.row_begins()[row]);
  }
}

std::unique_ptr<Matrix> BitmapMatrix::make(const Tensor& values, const Tensor& bitmap, std::int64_t cols) {
  return std::make_unique<BitmapMatrix>(BitmapArray(values, bitmap, cols));
}

void BitmapMatrix::multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const {
  dtc::multiply(weight_, x, count, y, parallel);
}

BitmapRows::BitmapRows(BitmapArray array) : Rows(array.rows(), array.cols()), array_(std::move(array)) {}

std::unique_ptr<Rows> BitmapRows::make(const Tensor& values, const Tensor& bitmap, std::int64_t cols) {
  return std::make_unique<BitmapRows>(BitmapArray(values, bitmap, cols));
}

void BitmapRows::decode(std::size_t row, float* out) const {
  std::fill_n(out, cols(), 0.0f);
  SparseWeight weight;
  weight.value = array_.value();
  weight.arrays.values = array_.values();
  std::size_t next = array_.row_begins()[row];
  for_each_bit(array_.bits(row), (cols() + 7) / 8, [&](std::size_t column) { out[column] = value_of(weight, next++); });
}

}  // namespace dtc
