#include "forms/recurrent_weights.h"

#include <string>
#include <utility>

#include "forms/binary_matrix.h"
#include "forms/bitmap_matrix.h"
#include "forms/codebook_matrix.h"
#include "forms/csr_matrix.h"
#include "forms/dense_matrix.h"
#include "forms/low_rank_matrix.h"

namespace dtc {
namespace {

/// Numbers `first` to `first + length` of the first dimension.
Tensor part(const Tensor& whole, std::size_t first, std::size_t length) {
  Tensor tensor = whole;
  const std::size_t all = static_cast<std::size_t>(whole.shape[0]), stride = all == 0 ? 0 : whole.count / all;
  tensor.shape[0] = static_cast<std::int64_t>(length);
  tensor.count = length * stride;
  tensor.data = whole.as<char>() + first * stride * size_of(whole.type);
  return tensor;
}

/// The `direction`-th of what lies in the first dimension, which is gone.
Tensor at(const Tensor& whole, const char* name, const Section& section) {
  require(!whole.shape.empty() && whole.shape[0] == static_cast<std::int64_t>(section.directions),
          std::string(name) + " has shape " + text(whole.shape) + ", but the node has " +
              std::to_string(section.directions) + " directions");
  Tensor tensor = part(whole, section.direction, 1);
  tensor.shape.erase(tensor.shape.begin());
  return tensor;
}

/// Throws Error unless the first dimension is the rows of all directions, and `more`.
void require_rows(const Tensor& tensor, const char* name, const Section& section, std::size_t more) {
  const std::size_t rows = section.directions * section.rows + more;
  require(!tensor.shape.empty() && tensor.shape[0] == static_cast<std::int64_t>(rows),
          std::string(name) + " has shape " + text(tensor.shape) + ", but " + std::to_string(rows) +
              " numbers are needed in the first dimension");
}

std::unique_ptr<Matrix> make_dense(const Arrays& arrays, const Section& section, const WeightSettings&) {
  require(arrays[0], "weight", {Type::f32}, 3);
  return DenseMatrix::make(at(arrays[0], "weight", section));
}

/// Rows out of the middle of a weight in compressed sparse rows: their pointers begin anew at 0.
class CsrSection : public Matrix {
 public:
  static std::unique_ptr<Matrix> make(const Tensor& values, const Tensor& columns, std::vector<std::uint32_t> pointers,
                                      std::size_t cols) {
    const Tensor own{Type::u32, {static_cast<std::int64_t>(pointers.size())}, pointers.data(), pointers.size()};
    auto inner = CsrMatrix::make(values, columns, own, static_cast<std::int64_t>(cols));
    return std::unique_ptr<Matrix>(new CsrSection(std::move(pointers), std::move(inner)));
  }

  void multiply(const float* x, std::size_t count, float* y, const Parallel& parallel) const override {
    inner_->multiply(x, count, y, parallel);
  }

 private:
  CsrSection(std::vector<std::uint32_t> pointers, std::unique_ptr<Matrix> inner)
      : Matrix(inner->rows(), inner->cols()), pointers_(std::move(pointers)), inner_(std::move(inner)) {}

  std::vector<std::uint32_t> pointers_;  // moved, not copied, so that `inner_` still reads it
  std::unique_ptr<Matrix> inner_;
};

std::uint32_t element(const Tensor& tensor, std::size_t index) {
  if (tensor.type == Type::u8) return tensor.as<std::uint8_t>()[index];
  return tensor.type == Type::u16 ? tensor.as<std::uint16_t>()[index] : tensor.as<std::uint32_t>()[index];
}

std::unique_ptr<Matrix> make_sparse(const Arrays& arrays, const Section& section, const WeightSettings&) {
  const Tensor &values = arrays[0], &columns = arrays[1], &pointers = arrays[2];
  require(values, "values", {Type::f32, Type::f16}, 1);
  require(columns, "columns", {Type::u8, Type::u16, Type::u32}, 1);
  require(pointers, "row_pointers", {Type::u8, Type::u16, Type::u32}, 1);
  require_rows(pointers, "row_pointers", section, 1);
  if (section.directions == 1) {
    return CsrMatrix::make(values, columns, pointers, static_cast<std::int64_t>(section.cols));
  }
  require(columns.count == values.count, "columns and values differ in length");
  require(element(pointers, 0) == 0 && element(pointers, pointers.count - 1) == values.count,
          "row_pointers do not begin at 0 and end at the number of values");
  const std::size_t first_row = section.direction * section.rows;
  const std::uint32_t begin = element(pointers, first_row), end = element(pointers, first_row + section.rows);
  require(begin <= end && end <= values.count, "row_pointers fall, or go beyond the values");
  std::vector<std::uint32_t> own(section.rows + 1);
  for (std::size_t row = 0; row <= section.rows; ++row) own[row] = element(pointers, first_row + row) - begin;
  return CsrSection::make(part(values, begin, end - begin), part(columns, begin, end - begin), std::move(own),
                          section.cols);
}

std::size_t bits_in(const Tensor& bytes) {
  std::size_t count = 0;
  for (std::size_t index = 0; index < bytes.count; ++index) {
    count += static_cast<std::size_t>(__builtin_popcount(bytes.as<std::uint8_t>()[index]));
  }
  return count;
}

std::unique_ptr<Matrix> make_bitmap(const Arrays& arrays, const Section& section, const WeightSettings&) {
  const Tensor &values = arrays[0], &bitmap = arrays[1];
  require(values, "values", {Type::f32, Type::f16}, 1);
  require(bitmap, "bitmap", {Type::u8}, 2);
  require_rows(bitmap, "bitmap", section, 0);
  const Tensor own = part(bitmap, section.direction * section.rows, section.rows);
  const std::size_t begin = bits_in(part(bitmap, 0, section.direction * section.rows));
  const bool last = section.direction + 1 == section.directions;
  require(begin <= values.count, "bitmap has more bits than there are values");
  const std::size_t length = last ? values.count - begin : bits_in(own);
  require(length <= values.count - begin, "bitmap has more bits than there are values");
  return BitmapMatrix::make(part(values, begin, length), own, static_cast<std::int64_t>(section.cols));
}

std::unique_ptr<Matrix> make_binary(const Arrays& arrays, const Section& section, const WeightSettings& settings) {
  require(arrays[0], "codes", {Type::u8}, 3);
  require(arrays[1], "alphas", {Type::f32, Type::f16}, 4);
  return BinaryMatrix::make(at(arrays[0], "codes", section), at(arrays[1], "alphas", section), settings.bits,
                            static_cast<std::int64_t>(section.cols), settings.group_size, settings.accuracy_level);
}

std::unique_ptr<Matrix> make_codebook(const Arrays& arrays, const Section& section, const WeightSettings& settings) {
  require(arrays[0], "indices", {Type::u8}, 2);
  require_rows(arrays[0], "indices", section, 0);
  const Tensor own = part(arrays[0], section.direction * section.rows, section.rows);
  return CodebookMatrix::make(own, arrays[1], settings.bits, static_cast<std::int64_t>(section.cols),
                              settings.codebook_level);
}

std::unique_ptr<Matrix> make_low_rank(const Arrays& arrays, const Section& section, const WeightSettings&) {
  require(arrays[0], "left", {Type::f32}, 3);
  require(arrays[1], "right", {Type::f32}, 3);
  return std::make_unique<LowRankMatrix>(DenseMatrix::make(at(arrays[0], "left", section)),
                                         DenseMatrix::make(at(arrays[1], "right", section)));
}

}  // namespace

const std::vector<RecurrentForm>& recurrent_forms() {
  static const std::vector<RecurrentForm> all = {
      {"dense", true, {Type::f32}, make_dense},
      {"sparse", true, {Type::none, Type::none, Type::none}, make_sparse},
      {"bitmap", true, {Type::none, Type::u8}, make_bitmap},
      {"binary", true, {Type::u8, Type::none}, make_binary},
      {"codebook", true, {Type::u8, Type::f32}, make_codebook},
      {"low_rank", false, {Type::f32, Type::f32}, make_low_rank},
  };
  return all;
}

}  // namespace dtc
