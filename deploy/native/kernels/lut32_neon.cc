// Lookup in tables of floats: eight entries fit two registers, so that a byte is looked up as 3, 3 and 2 bits.
#include "kernels/lut_neon.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Where in a table of floats the bytes lie of the entries that four rows choose.
inline uint8x16_t bytes_of(uint8x16_t offsets, std::size_t quarter) {
  static constexpr std::uint8_t spread[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
  static constexpr std::uint8_t within[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
  const uint8x16_t rows = vaddq_u8(vld1q_u8(spread), vdupq_n_u8(static_cast<std::uint8_t>(4 * quarter)));
  return vorrq_u8(vqtbl1q_u8(offsets, rows), vld1q_u8(within));
}

/// Per byte position the signed sums of inputs 0 to 2, of 3 to 5, and of 6 and 7 (twice), 8 floats each.
struct Table32 {
  using Simd = Neon;
  static constexpr std::size_t bytes = 96;
  static constexpr bool joined = false;

  /// The entries that four rows choose.
  static float32x4_t look_up(const unsigned char* table, uint8x16_t offsets, std::size_t quarter) {
    const uint8x16x2_t entries = {{vld1q_u8(table), vld1q_u8(table + 16)}};
    return vreinterpretq_f32_u8(vqtbl2q_u8(entries, bytes_of(offsets, quarter)));
  }

  template <int Blocks, int Columns, bool Masked>
  static void look_up(const std::uint8_t* const* codes, const std::uint8_t* const* mask,
                      const std::uint8_t* const* ahead, const unsigned char* const* tables, std::size_t positions,
                      const float*, bool first, Simd::F (*totals)[Simd::vectors]) {
    for (int u = 0; u < Blocks; ++u) {
      for (int c = 0; c < Columns; ++c) {
        float32x4_t sums[Simd::vectors];
        for (float32x4_t& rows : sums) rows = vdupq_n_f32(0.0F);
        for (std::size_t b = 0; b < positions; ++b) {
          const Codes both = Codes::load<Masked>(codes[u], mask[u], b);
          if (c == 0) Simd::prefetch(ahead[u] + b * kLutRows);
          const unsigned char* table = tables[c] + b * bytes;
          for (std::size_t half = 0; half < 2; ++half) {
            const uint8x16_t code = half == 0 ? both.first : both.second;
            const uint8x16_t entry = vdupq_n_u8(7 * sizeof(float));
            const uint8x16_t low = vandq_u8(vshlq_n_u8(code, 2), entry);
            const uint8x16_t middle = vandq_u8(vshrq_n_u8(code, 1), entry);
            const uint8x16_t high = vandq_u8(vshrq_n_u8(code, 4), entry);
            for (std::size_t quarter = 0; quarter < 4; ++quarter) {
              const float32x4_t sum =
                  vaddq_f32(vaddq_f32(look_up(table, low, quarter), look_up(table + 32, middle, quarter)),
                            look_up(table + 64, high, quarter));
              sums[4 * half + quarter] = vaddq_f32(sums[4 * half + quarter], sum);
            }
          }
        }
        Simd::F* to = totals[c * Blocks + u];
        for (std::size_t i = 0; i < Simd::vectors; ++i) to[i] = first ? sums[i] : vaddq_f32(to[i], sums[i]);
      }
    }
  }
};

void build(const float* x, const LutSpan* spans, std::size_t span_count, unsigned char* tables, LutFactors* factors) {
  const float signs[8] = {-1, 1, -1, 1, -1, -1, 1, 1};
  for (std::size_t s = 0; s < span_count; ++s) {
    float sum = 0.0F;
    for (std::size_t b = spans[s].begin; b < spans[s].end; ++b) {
      float* table = reinterpret_cast<float*>(tables + b * Table32::bytes);
      for (std::size_t part = 0; part < 3; ++part) {
        const float* in = x + 8 * b + 3 * part;
        const float32x4_t pair =
            vaddq_f32(vmulq_n_f32(vld1q_f32(signs), in[0]), vmulq_n_f32(vld1q_f32(signs + 4), in[1]));
        const float32x4_t third = vdupq_n_f32(part < 2 ? in[2] : 0.0F);
        vst1q_f32(table + 8 * part, vsubq_f32(pair, third));
        vst1q_f32(table + 8 * part + 4, vaddq_f32(pair, third));
      }
      // In the order of the lookups: where all is masked, the two then cancel exactly.
      sum += (table[7] + table[15]) + table[23];
    }
    factors[s] = {1.0F, sum, sum};
  }
}

}  // namespace

const LutKernel kLut32Neon = {Table32::bytes, 128, build, multiply_with<Table32>, 13.5};

}  // namespace dtc
