// dtc.BinaryMatMul, dtc.BinaryGather, dtc.BinaryDequantize.

#include "forms/binary_matrix.h"
#include "ort/register.h"
#include "ort/weight_operators.h"

namespace dtc {
namespace {

auto bind_matrix(const Attributes& node) {
  return [bits = node.integer("bits"), cols = node.integer("in_features"), group_size = node.integer("group_size"),
          level = node.integer("accuracy_level", 1)](const Arrays& arrays) {
    return BinaryMatrix::make(arrays[0], arrays[1], bits, cols, group_size, level);
  };
}

auto bind_rows(const Attributes& node) {
  return [bits = node.integer("bits"), cols = node.integer("in_features"), group_size = node.integer("group_size")](
             const Arrays& arrays) { return BinaryRows::make(arrays[0], arrays[1], bits, cols, group_size); };
}

/// The rows are the alphas' last dimension in the layout of the product, and the one before in that of rows.
Extent extent(const std::optional<Dims>& alphas, std::size_t axis, const Inference& node) {
  Extent found{{}, {node.integer("in_features").value_or(-1), ""}};
  if (alphas && alphas->size() == 3) found.rows = (*alphas)[axis];
  return found;
}

}  // namespace

std::vector<Operator> binary_operators() {
  const FormOf<Matrix> matrix{{Type::u8, Type::none}, bind_matrix, [](const auto& shapes, const Inference& node) {
                                return extent(shapes[1], 2, node);
                              }};
  const FormOf<Rows> rows{{Type::u8, Type::none}, bind_rows, [](const auto& shapes, const Inference& node) {
                            return extent(shapes[1], 1, node);
                          }};
  return {matmul("BinaryMatMul", matrix), gather("BinaryGather", rows), dequantize("BinaryDequantize", rows)};
}

}  // namespace dtc
