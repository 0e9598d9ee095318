// Products of many columns with binary codes, which are made into bytes on the way.
#ifndef DTC_FORMS_BINARY_TILES_H_
#define DTC_FORMS_BINARY_TILES_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "forms/binary_codes.h"
#include "forms/parallel.h"
#include "forms/tile_inputs.h"
#include "kernels/lut.h"
#include "kernels/tiles.h"

namespace dtc {

class BinaryTiles {
 public:
  /// The planes of block `index`, from the first on.
  using Blocks = std::function<LutBlock(std::size_t index)>;

  /// For codes of that shape; `look_up` is what it is an alternative to.
  BinaryTiles(const BinaryShape& shape, int accuracy_level, const LutKernel& look_up);

  /// The bytes of a number of x [count, cols] with which the product is as exact as it has to be, and faster than
  /// lookups; 0 where it is not.
  int digits_for(const float* x, std::size_t count) const;

  /// As Matrix::multiply, for at least one row and column of codes.
  void multiply(const LutCodes& codes, const Blocks& blocks, const float* x, std::size_t count, int digits, float* y,
                const Parallel& parallel) const;

 private:
  std::size_t least_columns(const LutKernel& look_up, int digits) const;
  void multiply_blocks(const LutCodes& codes, const Blocks& blocks, const Range& range, const TileInputs& inputs,
                       float* y) const;

  BinaryShape shape_;
  const TileKernel* kernel_;
  bool exact_;  ///< the levels of the weights are not rounded
  std::vector<TilePass> passes_;
  std::vector<TileSpan> spans_;
  std::size_t least_[2];  ///< columns from which on it is faster, by digits
};

}  // namespace dtc

#endif  // DTC_FORMS_BINARY_TILES_H_
