#include "forms/binary_codes.h"

#include <limits>

namespace dtc {
namespace {

/// A plane count of `bits` or one more; returns whether it is more.
bool one_more(std::int64_t length, std::int64_t bits, const char* name) {
  require(length == bits || length == bits + 1, std::string(name) + " has " + std::to_string(length) +
                                                    " planes, but bits is " + std::to_string(bits) +
                                                    ": that many are needed, or one more");
  return length != bits;
}

BinaryShape checked(const Tensor& codes, const Tensor& alphas, std::int64_t bits, std::int64_t in_features,
                    std::int64_t group_size, std::int64_t rows, std::int64_t groups) {
  require(bits >= 1 && bits <= 8, "bits is " + std::to_string(bits) + ", but 1 to 8 are possible");
  const bool masked = one_more(codes.shape[0], bits, "codes");
  const bool constant = one_more(alphas.shape[0], bits, "alphas");
  require(!masked || bits <= 7, "bits is 8, but with a mask at most 7 are possible");
  require(in_features >= 0, "in_features is " + std::to_string(in_features) + ", below 0");
  // Rounding up must not overflow; no array has that many elements anyway.
  require(in_features <= std::numeric_limits<std::int64_t>::max() / 2, "in_features is too large");
  require(rows >= 0, "alphas has shape " + text(alphas.shape));
  BinaryShape shape{};
  shape.bits = static_cast<std::size_t>(bits);
  shape.rows = static_cast<std::size_t>(rows);
  shape.cols = static_cast<std::size_t>(in_features);
  shape.positions = (shape.cols + 7) / 8;
  shape.masked = masked;
  shape.constant = constant;
  shape.half = alphas.type == Type::f16;
  if (in_features == 0) return shape;
  require(group_size >= 8 && group_size % 8 == 0,
          "group_size is " + std::to_string(group_size) + ", which is not a multiple of 8");
  shape.group_bytes = static_cast<std::size_t>(group_size / 8);
  shape.groups = (shape.positions - 1) / shape.group_bytes + 1;
  require(groups >= 0 && static_cast<std::size_t>(groups) == shape.groups,
          "alphas has shape " + text(alphas.shape) + ", but in_features " + std::to_string(in_features) +
              " and group_size " + std::to_string(group_size) + " make " + std::to_string(shape.groups) + " groups");
  return shape;
}

void require_types(const Tensor& codes, const Tensor& alphas, std::size_t codes_rank) {
  require(codes, "codes", {Type::u8}, codes_rank);
  require(alphas, "alphas", {Type::f32, Type::f16}, 3);
}

}  // namespace

BinaryShape blocked_shape(const Tensor& codes, const Tensor& alphas, std::int64_t bits, std::int64_t in_features,
                          std::int64_t group_size) {
  require_types(codes, alphas, 2);
  const BinaryShape shape = checked(codes, alphas, bits, in_features, group_size, alphas.shape[2], alphas.shape[1]);
  // Divided rather than multiplied, which could overflow.
  const auto bytes = static_cast<std::size_t>(codes.shape[1] < 0 ? 0 : codes.shape[1]);
  const bool fits = shape.rows == 0 || shape.positions == 0
                        ? bytes == 0
                        : bytes % shape.positions == 0 && bytes / shape.positions == shape.rows;
  require(fits, "codes has shape " + text(codes.shape) + ", but alphas has " + std::to_string(shape.rows) +
                    " rows, each of " + std::to_string(shape.positions) + " bytes");
  return shape;
}

BinaryShape canonical_shape(const Tensor& codes, const Tensor& alphas, std::int64_t bits, std::int64_t in_features,
                            std::int64_t group_size) {
  require_types(codes, alphas, 3);
  const BinaryShape shape = checked(codes, alphas, bits, in_features, group_size, alphas.shape[1], alphas.shape[2]);
  require(codes.shape[1] == alphas.shape[1] && codes.shape[2] >= 0 &&
              static_cast<std::size_t>(codes.shape[2]) == shape.positions,
          "codes has shape " + text(codes.shape) + ", but alphas has " + std::to_string(shape.rows) +
              " rows, each of " + std::to_string(shape.positions) + " bytes");
  return shape;
}

}  // namespace dtc
