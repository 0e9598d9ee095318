// Lookup in tables of floats in plain C++: what every machine can do, at every accuracy.
#include "kernels/half.h"
#include "kernels/lut_driver.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

struct Scalar {
  using F = float;
  static constexpr std::size_t lanes = 1, vectors = kLutRows;
  static F load(const float* from) { return *from; }
  static F load_half(const std::uint16_t* from) { return float_of_half(*from); }
  static void prefetch(const void*) {}
  static void store(float* to, F value) { *to = value; }
  static F set(float value) { return value; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F fma(F a, F b, F c) { return a * b + c; }
};

/// Per byte position the signed sums of inputs 0 to 2, of 3 to 5 and of 6 and 7: 8, 8 and 4 floats.
struct Table32 {
  using Simd = Scalar;
  static constexpr std::size_t bytes = 80;
  static constexpr bool joined = false;

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* codes, const std::uint8_t* const* mask, const std::uint8_t* const*,
                      const unsigned char* const* tables, std::size_t positions, const float*, bool first,
                      Simd::F (*totals)[Simd::vectors]) {
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) {
        float sums[kLutRows] = {};
        for (std::size_t b = 0; b < positions; ++b) {
          const float* table = reinterpret_cast<const float*>(tables[c] + b * bytes);
          for (std::size_t row = 0; row < kLutRows; ++row) {
            unsigned code = codes[u][b * kLutRows + row];
            if (Masked) code &= mask[u][b * kLutRows + row];
            sums[row] += (table[code & 7] + table[8 + ((code >> 3) & 7)]) + table[16 + (code >> 6)];
          }
        }
        float* to = totals[c * Blocks + u];
        for (std::size_t row = 0; row < kLutRows; ++row) to[row] = first ? sums[row] : to[row] + sums[row];
      }
    }
  }
};

/// The signed sums of `count` inputs: entry n adds input i where bit i of n is set and subtracts it elsewhere.
void fill(const float* x, unsigned count, float* entries) {
  for (unsigned n = 0; n < 1U << count; ++n) {
    float sum = (n & 1U) != 0 ? x[0] : -x[0];
    for (unsigned i = 1; i < count; ++i) sum += ((n >> i) & 1U) != 0 ? x[i] : -x[i];
    entries[n] = sum;
  }
}

void build(const float* x, const LutSpan* spans, std::size_t span_count, unsigned char* tables, LutFactors* factors) {
  for (std::size_t s = 0; s < span_count; ++s) {
    float sum = 0.0F;
    for (std::size_t b = spans[s].begin; b < spans[s].end; ++b) {
      float* table = reinterpret_cast<float*>(tables + b * Table32::bytes);
      fill(x + 8 * b, 3, table);
      fill(x + 8 * b + 3, 3, table + 8);
      fill(x + 8 * b + 6, 2, table + 16);
      // In the order of the lookups: where all is masked, the two then cancel.
      sum += (table[7] + table[15]) + table[19];
    }
    factors[s] = {1.0F, sum, sum};
  }
}

}  // namespace

const LutKernel kLut32Scalar = {Table32::bytes, 128, build, multiply_with<Table32>, 13.5};

}  // namespace dtc
