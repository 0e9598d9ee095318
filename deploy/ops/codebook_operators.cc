// dtc.CodebookMatMul, dtc.CodebookGather, dtc.CodebookDequantize.

#include "codebook_matrix.h"
#include "register.h"
#include "weight_operators.h"

namespace dtc {
namespace {

Extent extent(const std::vector<std::optional<Dims>>& shapes, const Inference& node) {
  Extent found{{}, {node.integer("columns").value_or(-1), ""}};
  if (shapes[0] && !shapes[0]->empty()) found.rows = shapes[0]->front();
  return found;
}

}  // namespace

std::vector<Operator> codebook_operators() {
  const FormOf<Matrix> matrix{2,
                              [](const Arrays& a, const Attributes& n) {
                                return CodebookMatrix::make(a[0], a[1], n.integer("bits"), n.integer("columns"));
                              },
                              extent};
  const FormOf<Rows> rows{2,
                          [](const Arrays& a, const Attributes& n) {
                            return CodebookRows::make(a[0], a[1], n.integer("bits"), n.integer("columns"));
                          },
                          extent};
  return {matmul("CodebookMatMul", matrix), gather("CodebookGather", rows), dequantize("CodebookDequantize", rows)};
}

}  // namespace dtc
