// dtc.CodebookMatMul, dtc.CodebookGather, dtc.CodebookDequantize.

#include "forms/codebook_matrix.h"
#include "ort/register.h"
#include "ort/weight_operators.h"

namespace dtc {
namespace {

Extent extent(const std::vector<std::optional<Dims>>& shapes, const Inference& node) {
  Extent found{{}, {node.integer("columns").value_or(-1), ""}};
  if (shapes[0] && !shapes[0]->empty()) found.rows = shapes[0]->front();
  return found;
}

/// Files of before there were levels have none, and mean floats.
auto bind_matrix(const Attributes& node) {
  return [bits = node.integer("bits"), cols = node.integer("columns"), level = node.integer("accuracy_level", 0)](
             const Arrays& arrays) { return CodebookMatrix::make(arrays[0], arrays[1], bits, cols, level); };
}

auto bind_rows(const Attributes& node) {
  return [bits = node.integer("bits"), cols = node.integer("columns")](const Arrays& arrays) {
    return CodebookRows::make(arrays[0], arrays[1], bits, cols);
  };
}

}  // namespace

std::vector<Operator> codebook_operators() {
  const FormOf<Matrix> matrix{{Type::u8, Type::f32}, bind_matrix, extent};
  const FormOf<Rows> rows{{Type::u8, Type::f32}, bind_rows, extent};
  return {matmul("CodebookMatMul", matrix), gather("CodebookGather", rows), dequantize("CodebookDequantize", rows)};
}

}  // namespace dtc
