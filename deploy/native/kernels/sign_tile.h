// Products with sign codes that are first decoded, a tile at a time: for many columns at once, float arithmetic at its
// full rate is faster than lookups.
#ifndef DTC_KERNELS_SIGN_TILE_H_
#define DTC_KERNELS_SIGN_TILE_H_

#include <cstddef>

#include "kernels/lut.h"

namespace dtc {

struct SignTileKernel {
  /// weights[k * 32 + row] = the weights of byte positions [begin, end), which are in `group`, k from 8 * begin on.
  void (*decode)(const LutCodes& codes, const LutBlock& block, std::size_t begin, std::size_t end, std::size_t group,
                 float* weights);
  /// y[column * 32 + row] += sum over k below depth of weights[k * 32 + row] * x[column * stride + k].
  void (*multiply)(const float* weights, std::size_t depth, const float* x, std::size_t stride, std::size_t columns,
                   float* y);
  /// What a byte position of a block takes, as LutKernel::cycles: to decode a plane, and to multiply a column.
  double decode_cycles, column_cycles;
};

/// The kernel of this processor; nullptr where lookups are always the better choice.
const SignTileKernel* sign_tile_kernel();

}  // namespace dtc

#endif  // DTC_KERNELS_SIGN_TILE_H_
