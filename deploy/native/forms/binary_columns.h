// The tables of some columns of x, for products with binary codes.
#ifndef DTC_FORMS_BINARY_COLUMNS_H_
#define DTC_FORMS_BINARY_COLUMNS_H_

#include <cstddef>
#include <vector>

#include "forms/parallel.h"
#include "forms/scratch.h"
#include "kernels/lut.h"

namespace dtc {

/// Tables that blocks meet one after another: three quarters of the nearest cache.
constexpr std::size_t kNearBytes = 24 * 1024;

/// Pieces for so many steps of work, each of one byte position, plane, block and column: no more than there are units.
std::size_t pieces_of_steps(std::size_t steps, std::size_t units);

class BinaryColumns {
 public:
  /// For x of `cols` inputs, and up to `most` of its columns.
  BinaryColumns(const LutKernel& kernel, const std::vector<LutSpan>& spans, std::size_t cols, std::size_t most);

  /// Makes the tables of x [count, cols].
  void build(const float* x, std::size_t count, const Parallel& parallel);

  std::size_t count() const { return count_; }

  /// Columns as a kernel takes them.
  struct Some {
    LutColumn columns[kLutColumns];
    std::size_t count;
  };

  /// Those of a range of no more than `kLutColumns`, for spans from `first` on.
  Some some(const Range& range, std::size_t first) const;

 private:
  void build_one(const float* x, std::size_t i);

  const LutKernel& kernel_;
  const std::vector<LutSpan>& spans_;
  std::size_t cols_, positions_, table_bytes_, count_ = 0;
  Scratch memory_;
  unsigned char* tables_;
  LutFactors* factors_;
  float* padded_;  ///< the columns filled up to whole bytes
};

}  // namespace dtc

#endif  // DTC_FORMS_BINARY_COLUMNS_H_
