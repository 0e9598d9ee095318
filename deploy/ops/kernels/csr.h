// Products with sparse rows: what the kernels read, and the kernels themselves.
#ifndef DTC_KERNELS_CSR_H_
#define DTC_KERNELS_CSR_H_

#include <cstddef>
#include <cstdint>

namespace dtc {

/// How the values of a sparse matrix are stored, and how its columns are.
enum class CsrValue { f32, f16 };
enum class CsrColumn { u8, u16, u32 };

/// Sparse rows as kernels read them; whoever made them has checked every column and every row.
///
/// The columns of a matrix may be cut into K-blocks of kCsrBlock: `block_counts` [rows, blocks] then says how many of a
/// row's values lie in each of them, and `relative` columns count from the first one of their block.
struct CsrArrays {
  const void* values = nullptr;               ///< [count], float or half
  const void* columns = nullptr;              ///< [count]
  const std::uint32_t* row_begins = nullptr;  ///< [rows + 1]
  std::size_t count = 0;                      ///< so far a kernel may read, whatever the row
  const std::uint16_t* block_counts = nullptr;
  std::size_t blocks = 1;
  bool relative = false;
};

/// Columns of a K-block: a relative one fits in a byte, and 256 rows of 24 floats of x in the first-level cache.
constexpr std::size_t kCsrBlock = 256;

/// Columns of a batch lie side by side in tiles of 8, 16, 24 or 32.
constexpr std::size_t kCsrLanes = 8;
constexpr std::size_t kCsrMaxVectors = 4;

struct CsrKernels {
  /// y[r] = row r times x [cols], for r from `begin` to below `end`.
  void (*multiply)(const CsrArrays& a, const float* x, std::size_t begin, std::size_t end, float* y);

  /// y[r] += the values from[r] to below to[r], each times the row of x that its column names, for r below `rows`.
  /// Entry v - 1 is for x and y of v * kCsrLanes floats a row.
  void (*accumulate[kCsrMaxVectors])(const CsrArrays& a, const std::uint32_t* from, const std::uint32_t* to,
                                     std::size_t rows, const float* x, float* y);

  /// to[c * stride + j] = from[j][c], for j below kCsrLanes and c below `count`.
  void (*transpose)(const float* const* from, std::size_t count, float* to, std::size_t stride);
};

/// The kernels for values and columns so stored, in the best instructions that there are.
const CsrKernels& csr_kernels(CsrValue value, CsrColumn column);

// One table an instruction set, [value][column].
extern const CsrKernels csr_kernels_scalar[2][3];
extern const CsrKernels csr_kernels_avx2[2][3];
extern const CsrKernels csr_kernels_neon[2][3];

/// A half-precision number as a float, in plain C++.
float csr_half(std::uint16_t half);

}  // namespace dtc

#endif  // DTC_KERNELS_CSR_H_
