// The truth beside the kernels of partial sums.
#include "kernels/codebook_sums_tables.h"

namespace dtc {
namespace {

float sum_of(const float* x, std::size_t left, const float* words, std::size_t places, std::size_t byte) {
  float sum = 0.0F;
  for (std::size_t d = 0; d < places && d < left; ++d) sum += x[d] * words[d * 256 + byte];
  return sum;
}

void build(const float* x, std::size_t inputs, const float* words, std::size_t places, std::size_t bytes,
           unsigned char* tables, float* scales) {
  for (std::size_t begin = 0; begin < bytes; begin += kSumsRun) {
    const std::size_t end = begin + kSumsRun < bytes ? begin + kSumsRun : bytes;
    float largest = 0.0F, sum = 0.0F;
    for (std::size_t b = begin; b < end; ++b) {
      for (std::size_t i = b * places; i < (b + 1) * places && i < inputs; ++i) sum += x[i];
      for (std::size_t byte = 0; byte < 256; ++byte) {
        const float size = __builtin_fabsf(sum_of(x + b * places, inputs - b * places, words, places, byte));
        largest = size > largest ? size : largest;
      }
    }
    const float scale = sums_scale(largest, sum);
    scales[begin / kSumsRun] = scale;
    for (std::size_t b = begin; b < end; ++b) {
      for (std::size_t byte = 0; byte < 256; ++byte) {
        const float number = sum_of(x + b * places, inputs - b * places, words, places, byte) / scale;
        const float half = number < 0.0F ? -0.5F : 0.5F;
        const int whole = scale == scale ? kSumsZero + static_cast<int>(number + half) : 0;
        tables[b * kSumsTable + byte] = static_cast<unsigned char>(whole & 255);
        tables[b * kSumsTable + 256 + byte] = static_cast<unsigned char>(whole >> 8);
      }
    }
  }
}

void multiply(const IndexRows& rows, std::size_t, const unsigned char* tables, const float* scales, float* y) {
  for (std::size_t r = 0; r < rows.rows; ++r) {
    y[r] = 0.0F;
    for (std::size_t begin = 0; begin < rows.row_bytes; begin += kSumsRun) {
      const std::size_t end = begin + kSumsRun < rows.row_bytes ? begin + kSumsRun : rows.row_bytes;
      int total = 0;
      for (std::size_t b = begin; b < end; ++b) {
        const unsigned char* const table = tables + b * kSumsTable + rows.codes[r * rows.row_bytes + b];
        total += table[0] + 256 * table[256] - kSumsZero;
      }
      y[r] += scales[begin / kSumsRun] * static_cast<float>(total);
    }
  }
}

}  // namespace

const CodebookSumsKernel kCodebookSumsScalar = {build, multiply};

}  // namespace dtc
