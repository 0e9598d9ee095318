// dtc.SparseMatMul, dtc.SparseGather, dtc.SparseDequantize, and the same of bitmaps.

#include "forms/bitmap_matrix.h"
#include "forms/csr_matrix.h"
#include "ort/register.h"
#include "ort/weight_operators.h"

namespace dtc {
namespace {

/// The first dimension of array `index` tells the rows, and is `more` than they are.
auto extent_by(std::size_t index, std::int64_t more) {
  return [index, more](const std::vector<std::optional<Dims>>& shapes, const Inference& node) {
    Extent found{{}, {node.integer("cols").value_or(-1), ""}};
    if (shapes[index] && !shapes[index]->empty()) found.rows.size = shapes[index]->front().size - more;
    return found;
  };
}

template <typename Csr>
auto bind_csr(const Attributes& node) {
  return
      [cols = node.integer("cols")](const Arrays& arrays) { return Csr::make(arrays[0], arrays[1], arrays[2], cols); };
}

template <typename Bitmap>
auto bind_bitmap(const Attributes& node) {
  return [cols = node.integer("cols")](const Arrays& arrays) { return Bitmap::make(arrays[0], arrays[1], cols); };
}

}  // namespace

std::vector<Operator> sparse_operators() {
  const auto csr = extent_by(2, 1), bitmap = extent_by(1, 0);
  const std::vector<Type> csr_arrays(3, Type::none), bitmap_arrays = {Type::none, Type::u8};
  const FormOf<Matrix> csr_matrix{csr_arrays, bind_csr<CsrMatrix>, csr},
      bitmap_matrix{bitmap_arrays, bind_bitmap<BitmapMatrix>, bitmap};
  const FormOf<Rows> csr_rows{csr_arrays, bind_csr<CsrRows>, csr},
      bitmap_rows{bitmap_arrays, bind_bitmap<BitmapRows>, bitmap};
  return {matmul("SparseMatMul", csr_matrix),       gather("SparseGather", csr_rows),
          dequantize("SparseDequantize", csr_rows), matmul("BitmapMatMul", bitmap_matrix),
          gather("BitmapGather", bitmap_rows),      dequantize("BitmapDequantize", bitmap_rows)};
}

}  // namespace dtc
