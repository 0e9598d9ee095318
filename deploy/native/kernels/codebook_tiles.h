// Products of many columns with rows of codewords, which are looked up as signed bytes, a tile at a time.
#ifndef DTC_KERNELS_CODEBOOK_TILES_H_
#define DTC_KERNELS_CODEBOOK_TILES_H_

#include <cstddef>
#include <cstdint>

#include "kernels/tiles.h"

namespace dtc {

/// No byte of indices stands for more numbers.
constexpr std::size_t kMostPlaces = 64;

/// What each byte of indices means, in bytes: number d, of `places`, of byte b is at tables[(digit * places + d) * 256
/// + b]; of two digits the upper ones come first.
struct ByteWords {
  const std::int8_t* tables;
  std::size_t places;
  int digits;
  float unit;    ///< the value of a unit
  bool nibbles;  ///< two places, each told by half of the byte, the lower first
};

/// Rows of bytes of indices.
struct IndexRows {
  const std::uint8_t* codes;
  std::size_t row_bytes, rows;
};

struct CodebookTileKernel {
  /// Makes column `column` of x [inputs], and of two digits column `lower` too. Place d of 64 bytes of indices from 64
  /// t on is tile t * places + d; there is one span.
  void (*build)(const float* x, std::size_t inputs, std::size_t places, int digits, std::size_t column,
                std::size_t lower, const TileColumns& out);
  /// Between these two a thread has what `multiply` needs for so many columns.
  void (*begin)(std::size_t columns);
  void (*end)();
  /// y[column * 32 + row] = the product of up to 32 rows with the columns.
  void (*multiply)(const IndexRows& rows, const ByteWords& words, const TileColumns& x, float* y);
  std::size_t least_exact;  ///< columns from which on words and x of two digits are faster than partial sums of each
};

/// The kernel of this processor; nullptr where there is none.
const CodebookTileKernel* codebook_tile_kernel();

}  // namespace dtc

#endif  // DTC_KERNELS_CODEBOOK_TILES_H_
