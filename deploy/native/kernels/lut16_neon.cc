// Lookup in tables of 16 bits, as two tables of bytes.
#include "kernels/lut_neon.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Per byte position the lower bytes of the 16 entries of the lower four inputs and of those of the upper four, then
/// the upper bytes likewise, each entry plus 32768 + 128: less 128, the bytes are then the digits of the entry.
struct Table16 {
  using Simd = Neon;
  struct Sums {
    ByteSums low, high;
    void look_up(const unsigned char* table, uint8x16_t first, uint8x16_t second) {
      low.look_up(vld1q_u8(table), first, second);
      high.look_up(vld1q_u8(table + 32), first, second);
    }
  };
  static constexpr std::size_t bytes = 64;
  static constexpr bool joined = false;
  static constexpr int largest = 32767 - 128;

  static int store(const float* scaled, unsigned char* to) {
    int total = 0;
    for (std::size_t half = 0; half < 2; ++half) {
      const Entries entries = nibble_table(scaled + 4 * half);
      total += vgetq_lane_s16(entries.high, 7);
      const int16x8_t bias = vdupq_n_s16(-32768 + 128);
      const uint8x16_t first = vreinterpretq_u8_s16(vaddq_s16(entries.low, bias));
      const uint8x16_t second = vreinterpretq_u8_s16(vaddq_s16(entries.high, bias));
      vst1q_u8(to + 16 * half, vuzp1q_u8(first, second));
      vst1q_u8(to + 16 * half + 32, vuzp2q_u8(first, second));
    }
    return total;
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* codes, const std::uint8_t* const* mask,
                      const std::uint8_t* const* ahead, const unsigned char* const* tables, std::size_t positions,
                      const float* scales, bool first, Simd::F (*totals)[Simd::vectors]) {
    Sums sums[Blocks][Columns];
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) sums[u][c] = {ByteSums::of(2 * positions), ByteSums::of(2 * positions)};
    }
    for (std::size_t b = 0; b < positions; ++b) {
      for (int u = 0; u < Blocks; ++u) {
        const Codes code = Codes::load<Masked>(codes[u], mask[u], b), lower = code.lower(), upper = code.upper();
        Simd::prefetch(ahead[u] + b * kLutRows);
        for (int c = 0; c < Columns; ++c) {
          const unsigned char* table = tables[c] + b * bytes;
          sums[u][c].look_up(table, lower.first, lower.second);
          sums[u][c].look_up(table + 16, upper.first, upper.second);
        }
      }
    }
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) add(sums[u][c], scales[c], first, totals[c * Blocks + u]);
    }
  }

  static void add(const Sums& sums, float scale, bool first, Simd::F* totals) {
    for (std::size_t i = 0; i < 4; ++i) {
      const int16x8_t low = sums.low.sum(i), high = sums.high.sum(i);
      add_scaled(vaddw_s16(vshll_n_s16(vget_low_s16(high), 8), vget_low_s16(low)), scale, first, totals + 2 * i);
      add_scaled(vaddw_high_s16(vshll_high_n_s16(high, 8), low), scale, first, totals + 2 * i + 1);
    }
  }
};

}  // namespace

static_assert(kRoundedPositions <= kMostPositions, "no sum may overflow");
const LutKernel kLut16Neon = {Table16::bytes, kRoundedPositions, build_rounded<Table16>, multiply_with<Table16>, 6.5};

}  // namespace dtc
