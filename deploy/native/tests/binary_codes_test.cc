#include "forms/binary_codes.h"

#include <limits>
#include <string>

#include "forms/binary_matrix.h"
#include "tests/binary_case.h"
#include "tests/check.h"

using namespace dtc;
using namespace dtc::testing;

namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

Tensor bytes(std::vector<std::int64_t> shape) {
  static const std::uint8_t data[4096] = {};
  Tensor tensor;
  tensor.type = Type::u8;
  tensor.data = data;
  tensor.shape = std::move(shape);
  return tensor;
}

Tensor floats(std::vector<std::int64_t> shape) {
  Tensor tensor = bytes(std::move(shape));
  tensor.type = Type::f32;
  return tensor;
}

TEST(binary_shape_of_good_arrays) {
  const BinaryShape shape = blocked_shape(bytes({3, 5 * 7}), floats({3, 4, 5}), 2, 50, 16);
  CHECK(shape.bits == 2 && shape.rows == 5 && shape.cols == 50 && shape.positions == 7);
  CHECK(shape.groups == 4 && shape.group_bytes == 2 && shape.masked && shape.constant && !shape.half);
  CHECK(shape.planes() == 3 && shape.terms() == 3);
  CHECK(canonical_shape(bytes({1, 5, 7}), floats({1, 5, 4}), 1, 50, 16).planes() == 1);
}

TEST(binary_attributes_are_checked) {
  const Tensor codes = bytes({1, 10}), alphas = floats({1, 1, 5});
  CHECK_REFUSED(blocked_shape(codes, alphas, 0, 16, 16), "bits is 0");
  CHECK_REFUSED(blocked_shape(codes, alphas, -1, 16, 16), "bits is -1");
  CHECK_REFUSED(blocked_shape(bytes({9, 10}), floats({9, 1, 5}), 9, 16, 16), "bits is 9");
  CHECK_REFUSED(blocked_shape(bytes({9, 10}), floats({8, 1, 5}), 8, 16, 16), "mask");
  CHECK_REFUSED(blocked_shape(codes, alphas, 1, -16, 16), "in_features is -16");
  CHECK_REFUSED(blocked_shape(codes, alphas, 1, kMost, 16), "in_features is too large");
  CHECK_REFUSED(blocked_shape(codes, alphas, 1, kMost / 2, 16), "groups");
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{-8}, std::int64_t{12}, kMost}) {
    CHECK_REFUSED(blocked_shape(codes, alphas, 1, 16, size), "group_size");
  }
  for (const std::int64_t accuracy : {-1, 2, 3, 5}) {
    CHECK_REFUSED(BinaryMatrix::make(codes, alphas, 1, 16, 16, accuracy), "accuracy_level");
  }
}

TEST(binary_arrays_are_checked) {
  const Tensor codes = bytes({1, 10}), alphas = floats({1, 1, 5});
  CHECK_REFUSED(blocked_shape(Tensor(), alphas, 1, 16, 16), "codes is missing");
  CHECK_REFUSED(blocked_shape(codes, Tensor(), 1, 16, 16), "alphas is missing");
  CHECK_REFUSED(blocked_shape(floats({1, 10}), alphas, 1, 16, 16), "element type");
  CHECK_REFUSED(blocked_shape(codes, bytes({1, 1, 5}), 1, 16, 16), "element type");
  CHECK_REFUSED(blocked_shape(bytes({1, 5, 2}), alphas, 1, 16, 16), "dimensions");
  CHECK_REFUSED(blocked_shape(codes, floats({1, 5}), 1, 16, 16), "dimensions");
  CHECK_REFUSED(blocked_shape(bytes({3, 10}), alphas, 1, 16, 16), "codes has 3 planes");
  CHECK_REFUSED(blocked_shape(bytes({0, 10}), alphas, 1, 16, 16), "codes has 0 planes");
  CHECK_REFUSED(blocked_shape(codes, floats({3, 1, 5}), 1, 16, 16), "alphas has 3 planes");
  CHECK_REFUSED(blocked_shape(bytes({1, 9}), alphas, 1, 16, 16), "codes has shape [1, 9]");
  CHECK_REFUSED(blocked_shape(bytes({1, 12}), alphas, 1, 16, 16), "codes has shape");
  CHECK_REFUSED(blocked_shape(codes, floats({1, 2, 5}), 1, 16, 16), "1 groups");
  CHECK_REFUSED(blocked_shape(codes, floats({1, 0, 5}), 1, 16, 16), "groups");
  CHECK_REFUSED(blocked_shape(codes, floats({1, 1, 0}), 1, 16, 16), "0 rows");
  CHECK_REFUSED(blocked_shape(bytes({1, -10}), alphas, 1, 16, 16), "codes has shape");
  // Rows times bytes is 0 modulo 2^64.
  CHECK_REFUSED(blocked_shape(bytes({1, 0}), floats({1, 1, std::int64_t{1} << 62}), 1, 128, 128), "codes has shape");
  CHECK_REFUSED(canonical_shape(bytes({1, 4, 2}), floats({1, 5, 1}), 1, 16, 16), "5 rows");
  CHECK_REFUSED(canonical_shape(bytes({1, 5, 1}), floats({1, 5, 1}), 1, 16, 16), "2 bytes");
  CHECK_REFUSED(BinaryRows::make(bytes({1, 5, 3}), floats({1, 5, 1}), 1, 16, 16), "2 bytes");
}

}  // namespace
