// Products of one column with rows of codewords by partial sums: of the inputs that a byte of indices stands for, the
// sums with all that the byte can mean are computed once, and each row's byte then chooses one.
#ifndef DTC_KERNELS_CODEBOOK_SUMS_H_
#define DTC_KERNELS_CODEBOOK_SUMS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/codebook_tiles.h"

namespace dtc {

/// Bytes of indices whose sums share a scale; 64 sums of 16 bits are far below 2^24.
constexpr std::size_t kSumsRun = 64;

/// Bytes of a table: 256 sums, their lower bytes first.
constexpr std::size_t kSumsTable = 512;

/// What stands for 0 in a table.
constexpr int kSumsZero = 32768;

/// The rows of a register.
constexpr std::size_t kSumsLanes = 64;

struct CodebookSumsKernel {
  /// tables [bytes, kSumsTable] and scales [runs of kSumsRun bytes] of x [inputs]. words [places, 256]: number d of
  /// what a byte means. Where x is not finite, a scale is not.
  void (*build)(const float* x, std::size_t inputs, const float* words, std::size_t places, std::size_t bytes,
                unsigned char* tables, float* scales);
  /// y[row] = the product of a row. So many rows lie behind them that are likely to come next, and are fetched ahead.
  void (*multiply)(const IndexRows& rows, std::size_t behind, const unsigned char* tables, const float* scales,
                   float* y);
};

/// The kernel of this processor; nullptr where there is none.
const CodebookSumsKernel* codebook_sums_kernel();

}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_SUMS_H_
