// The truth beside the kernel of 16 scalars.
#include "kernels/codebook_nibbles_tables.h"
#include "kernels/tile_numbers.h"

namespace dtc {
namespace {

void build(const float* x, std::size_t inputs, NibbleColumn& column) {
  float largest, sum;
  measure_plainly(x, inputs, &largest, &sum);
  const TileScale scale = tile_scale(largest, sum, column.digits);
  column.unit = scale.unit;
  column.totals[0] = column.totals[1] = 0;
  for (std::size_t i = 0; i < 2 * column.stride; ++i) {
    const bool there = i < inputs && scale.inverse != 0.0F;
    const TileNumber number = tile_number(there ? x[i] * scale.inverse : 0.0F, column.digits);
    const std::int8_t by_digit[2] = {number.upper, number.lower};
    for (int digit = 0; digit < column.digits; ++digit) {
      const std::size_t half = 2 * static_cast<std::size_t>(digit) + i % 2;
      column.bytes[half * column.stride + i / 2] = by_digit[digit];
      column.totals[digit] += by_digit[digit];
    }
  }
}

void multiply(const IndexRows& rows, const ByteWords& words, const NibbleColumn& x, float* y) {
  for (std::size_t r = 0; r < rows.rows; ++r) {
    std::int32_t sums[3] = {0, 0, 0};
    for (std::size_t b = 0; b < rows.row_bytes; ++b) {
      const std::uint8_t byte = rows.codes[r * rows.row_bytes + b];
      for (int w = 0; w < words.digits; ++w) {
        for (int g = 0; g < x.digits; ++g) {
          for (std::size_t half = 0; half < 2; ++half) {
            const std::int8_t word = words.tables[(static_cast<std::size_t>(w) * 2 + half) * 256 + byte];
            const std::size_t line = 2 * static_cast<std::size_t>(g) + half;
            sums[nibbles_sum(w, g)] += word * x.bytes[line * x.stride + b];
          }
        }
      }
    }
    y[r] = nibbles_number(sums, words, x);
  }
}

}  // namespace

const CodebookNibblesKernel kCodebookNibblesScalar = {build, multiply};

}  // namespace dtc
