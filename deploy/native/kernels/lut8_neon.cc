// Lookup in tables of 8 bits, one instruction for 16 rows and 4 inputs.
#include "kernels/lut_neon.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Per byte position the 16 entries of the lower four inputs, then those of the upper four, each plus 128.
struct Table8 {
  using Simd = Neon;
  static constexpr std::size_t bytes = 32;
  static constexpr bool joined = true;
  static constexpr int largest = 127;

  static int store(const float* scaled, unsigned char* to) {
    for (std::size_t half = 0; half < 2; ++half) {
      const Entries entries = nibble_table(scaled + 4 * half);
      const int8x16_t packed = vcombine_s8(vqmovn_s16(entries.low), vqmovn_s16(entries.high));
      vst1q_u8(to + 16 * half, veorq_u8(vreinterpretq_u8_s8(packed), vdupq_n_u8(128)));
    }
    return to[15] + to[31] - 256;
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* codes, const std::uint8_t* const* mask,
                      const std::uint8_t* const* ahead, const unsigned char* const* tables, std::size_t positions,
                      const float* scales, bool first, Simd::F (*totals)[Simd::vectors]) {
    ByteSums sums[Blocks][Columns];
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) sums[u][c] = ByteSums::of(2 * positions);
    }
    for (std::size_t b = 0; b < positions; ++b) {
      for (int u = 0; u < Blocks; ++u) {
        const Codes code = Codes::load<Masked>(codes[u], mask[u], b), lower = code.lower(), upper = code.upper();
        Simd::prefetch(ahead[u] + b * kLutRows);
        for (int c = 0; c < Columns; ++c) {
          const unsigned char* table = tables[c] + b * bytes;
          sums[u][c].look_up(vld1q_u8(table), lower.first, lower.second);
          sums[u][c].look_up(vld1q_u8(table + 16), upper.first, upper.second);
        }
      }
    }
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) add(sums[u][c], scales[c], first, totals[c * Blocks + u]);
    }
  }

  static void add(const ByteSums& sums, float scale, bool first, Simd::F* totals) {
    for (std::size_t i = 0; i < 4; ++i) {
      add_scaled(vmovl_s16(vget_low_s16(sums.sum(i))), scale, first, totals + 2 * i);
      add_scaled(vmovl_high_s16(sums.sum(i)), scale, first, totals + 2 * i + 1);
    }
  }
};

}  // namespace

static_assert(kRoundedPositions <= kMostPositions, "no sum may overflow");
const LutKernel kLut8Neon = {Table8::bytes, kRoundedPositions, build_rounded<Table8>, multiply_with<Table8>, 3.5};

}  // namespace dtc
