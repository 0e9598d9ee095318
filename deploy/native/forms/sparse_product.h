// Products with sparse rows, however their columns are stored.
#ifndef DTC_FORMS_SPARSE_PRODUCT_H_
#define DTC_FORMS_SPARSE_PRODUCT_H_

#include <cstddef>

#include "forms/parallel.h"
#include "kernels/csr.h"

namespace dtc {

/// A checked sparse weight [rows, cols].
struct SparseWeight {
  CsrArrays arrays;
  CsrValue value = CsrValue::f32;
  CsrColumn column = CsrColumn::u16;
  std::size_t rows = 0, cols = 0;
  std::size_t longest_row = 0;  ///< in values; needed for columns within K-blocks
};

/// A stored value as a float.
float value_of(const SparseWeight& weight, std::size_t at);

/// y [count, rows] = x [count, cols] times the transposed weight; see Matrix::multiply.
///
/// One column takes the weight's rows one by one. More of them are laid out in tiles, in which the batch is the inner
/// dimension, and a value multiplies whole rows of a tile (the SpMM of Elsen et al., "Fast Sparse ConvNets", 2019,
/// section 3): measured, from 2 columns on that is as fast or faster.
void multiply(const SparseWeight& weight, const float* x, std::size_t count, float* y, const Parallel& parallel);

}  // namespace dtc

#endif  // DTC_FORMS_SPARSE_PRODUCT_H_
