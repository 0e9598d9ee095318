// Products with sparse rows: what the kernels read, and the kernels themselves.
#ifndef DTC_KERNELS_CSR_H_
#define DTC_KERNELS_CSR_H_

#include <cstddef>
#include <cstdint>

namespace dtc {

/// How the values of a sparse matrix are stored.
enum class CsrValue { f32, f16 };
constexpr int kCsrValues = 2;

/// How its columns are: as numbers, or as bytes that count from the first column of a K-block, which kernels write out
/// as 16 or 32 bits a row at a time.
enum class CsrColumn { u8, u16, u32, block_u16, block_u32 };
constexpr int kCsrColumns = 5;

/// Columns of a K-block.
constexpr std::size_t kCsrBlock = 256;

/// Columns of a batch lie side by side in tiles of 8, 16, 24 or 32.
constexpr std::size_t kCsrLanes = 8;
constexpr std::size_t kCsrMaxVectors = 4;

/// Kernels write columns so far behind the end of a row, and read columns within a K-block so far behind their end.
constexpr std::size_t kCsrSlack = 32;

/// Sparse rows as kernels read them; whoever made them has checked every column and every row.
struct CsrArrays {
  const void* values = nullptr;                 ///< [count], float or half
  const void* columns = nullptr;                ///< [count], and kCsrSlack more if they are within K-blocks
  const std::uint32_t* row_begins = nullptr;    ///< [rows + 1]
  const std::uint16_t* block_counts = nullptr;  ///< [rows, blocks]: how many values of a row lie in each K-block
  std::size_t blocks = 0;
  std::size_t count = 0;  ///< values and columns there are, so far a kernel may read
};

struct CsrKernels {
  /// y[r] = row r times x [cols], for `rows` rows from row `begin` on. `scratch` has room for the columns of the
  /// longest row and kCsrSlack more, where they are within K-blocks.
  void (*multiply)(const CsrArrays& a, const float* x, std::size_t begin, std::size_t rows, float* y, void* scratch);

  /// y[r - begin, :] = the sum of row r's values times the rows of x that their columns name, for those r. Entry v - 1
  /// is for rows of x and y of v * kCsrLanes floats.
  void (*accumulate[kCsrMaxVectors])(const CsrArrays& a, const float* x, std::size_t begin, std::size_t rows, float* y,
                                     void* scratch);

  /// to[c * stride + j] = from[j][c], for j below kCsrLanes and c below `count`.
  void (*transpose)(const float* const* from, std::size_t count, float* to, std::size_t stride);
};

/// The kernels for values and columns so stored, in the best instructions that there are.
const CsrKernels& csr_kernels(CsrValue value, CsrColumn column);

// One table an instruction set, [value][column].
extern const CsrKernels csr_kernels_scalar[kCsrValues][kCsrColumns];
extern const CsrKernels csr_kernels_avx2[kCsrValues][kCsrColumns];
extern const CsrKernels csr_kernels_avx512[kCsrValues][kCsrColumns];
extern const CsrKernels csr_kernels_neon[kCsrValues][kCsrColumns];

}  // namespace dtc

#endif  // DTC_KERNELS_CSR_H_
