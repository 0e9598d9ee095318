// Tiles with NEON, multiplied by the dot product instructions of ARMv8.2: four inputs of four rows with a column.
#include <arm_neon.h>

#include "kernels/tile_numbers.h"
#include "kernels/tile_tables.h"

namespace dtc {
namespace {

/// Tiles of a strip that are made before columns meet them.
constexpr std::size_t kMade = 8;

struct NeonDot : NothingTaken {
  static void alphas(const LutCodes& codes, const LutBlock& block, std::size_t term, std::size_t group, std::size_t row,
                     float* out) {
    const std::size_t at = term * block.term_stride + group * block.group_stride + row;
    for (std::size_t r = 0; r < kTileRows; r += 4) {
      if (codes.half) {
        const uint16x4_t bits = vld1_u16(static_cast<const std::uint16_t*>(block.alphas) + at + r);
        vst1q_f32(out + r, vcvt_f32_f16(vreinterpret_f16_u16(bits)));
      } else {
        vst1q_f32(out + r, vld1q_f32(static_cast<const float*>(block.alphas) + at + r));
      }
    }
  }

  template <int Planes>
  class Strip {
   public:
    Strip(const std::int8_t* levels, std::size_t strip)
        : levels_(reinterpret_cast<const std::uint8_t*>(levels)), first_(strip * kTileRows) {}

    void make(const std::uint8_t* const* codes, std::int8_t* tile) const {
      for (std::size_t g = 0; g < 2; ++g) {
        uint8x16_t quads[kPlanes][4];
        for (std::size_t p = 0; p < kPlanes; ++p) interleave(codes[p] + 4 * g * kLutRows + first_, quads[p]);
        for (int bit = 0; bit < 8; ++bit) {
          for (std::size_t four = 0; four < 4; ++four) {
            const uint8x16_t found = levels_of(quads, four, bit);
            vst1q_u8(reinterpret_cast<std::uint8_t*>(tile) + (8 * g + static_cast<std::size_t>(bit)) * kTileDepth +
                         16 * four,
                     found);
          }
        }
      }
    }

   private:
    static constexpr std::size_t kPlanes = Planes == 0 ? 1 : Planes;

    /// Bytes of four positions, side by side for each of four rows of register `four`.
    static void interleave(const std::uint8_t* from, uint8x16_t* out) {
      const uint8x16_t a = vld1q_u8(from), b = vld1q_u8(from + kLutRows);
      const uint8x16_t c = vld1q_u8(from + 2 * kLutRows), d = vld1q_u8(from + 3 * kLutRows);
      const uint8x16_t even[2] = {vzip1q_u8(a, c), vzip2q_u8(a, c)}, odd[2] = {vzip1q_u8(b, d), vzip2q_u8(b, d)};
      for (int half = 0; half < 2; ++half) {
        out[2 * half] = vzip1q_u8(even[half], odd[half]);
        out[2 * half + 1] = vzip2q_u8(even[half], odd[half]);
      }
    }

    uint8x16_t levels_of(const uint8x16_t (*quads)[4], std::size_t four, int bit) const {
      const uint8x16_t mask = vdupq_n_u8(static_cast<std::uint8_t>(1U << bit));
      if constexpr (Planes == 0) {
        return vorrq_u8(vmvnq_u8(vtstq_u8(quads[0][four], mask)), vdupq_n_u8(1));  // +1 or -1
      } else {
        static const std::uint8_t rows[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
        uint8x16_t at = vaddq_u8(vld1q_u8(rows), vdupq_n_u8(static_cast<std::uint8_t>(4 * four)));
        for (int p = 0; p < Planes; ++p) {
          const int8x16_t shift = vdupq_n_s8(static_cast<std::int8_t>(4 + p - bit));
          at = vorrq_u8(at, vshlq_u8(vandq_u8(quads[p][four], mask), shift));
        }
        // A place beyond the 64 bytes of a table gives 0.
        uint8x16_t found = vqtbl4q_u8(vld1q_u8_x4(levels_), at);
        for (int i = 1; i < (1 << Planes) / 4; ++i) {
          at = vsubq_u8(at, vdupq_n_u8(64));
          found = vorrq_u8(found, vqtbl4q_u8(vld1q_u8_x4(levels_ + 64 * i), at));
        }
        return found;
      }
    }

    const std::uint8_t* levels_;
    std::size_t first_;
  };

  template <int Lane, int Columns>
  static void add_line(const std::int8_t* line, const int8x16_t* x, int32x4_t (*own)[4]) {
    for (int four = 0; four < 4; ++four) {
      const int8x16_t weights = vld1q_s8(line + Lane * static_cast<int>(kTileDepth) + 16 * four);
      for (int c = 0; c < Columns; ++c) own[c][four] = vdotq_laneq_s32(own[c][four], weights, x[c], Lane);
    }
  }

  /// sums [column, 32] += tiles times `Columns` columns from `column` on.
  template <int Columns>
  static void add_columns(const std::int8_t* made, std::size_t tiles, std::size_t first, const TileColumns& x,
                          std::size_t column, std::int32_t* sums) {
    int32x4_t own[Columns][4];
    for (std::size_t c = 0; c < Columns; ++c) {
      for (std::size_t four = 0; four < 4; ++four) own[c][four] = vld1q_s32(sums + c * kLutRows + 4 * four);
    }
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      for (std::size_t at = 0; at < kTileDepth; at += 16) {
        int8x16_t numbers[Columns];
        for (std::size_t c = 0; c < Columns; ++c) numbers[c] = vld1q_s8(x.line(first + tile, column + c) + at);
        const std::int8_t* const line = made + tile * kTileBytes + at * kTileRows;
        add_line<0, Columns>(line, numbers, own);
        add_line<1, Columns>(line, numbers, own);
        add_line<2, Columns>(line, numbers, own);
        add_line<3, Columns>(line, numbers, own);
      }
    }
    for (std::size_t c = 0; c < Columns; ++c) {
      for (std::size_t four = 0; four < 4; ++four) vst1q_s32(sums + c * kLutRows + 4 * four, own[c][four]);
    }
  }

  template <class Strip>
  static void sum(const Strip* strips, TileCodes& codes, const TileSpan& span, const TileColumns& x,
                  const std::int32_t*, std::int32_t* sums) {
    using Add = void (*)(const std::int8_t*, std::size_t, std::size_t, const TileColumns&, std::size_t, std::int32_t*);
    constexpr Add by_columns[] = {add_columns<1>, add_columns<2>, add_columns<3>, add_columns<4>};
    constexpr std::size_t most = sizeof by_columns / sizeof *by_columns;
    for (std::size_t i = 0; i < x.count * kLutRows; ++i) sums[i] = 0;
    alignas(64) std::int8_t made[kMade * kTileBytes];
    for (std::size_t begin = 0; begin < span.tiles(); begin += kMade) {
      const std::size_t tiles = span.tiles() - begin < kMade ? span.tiles() - begin : kMade;
      for (std::size_t s = 0; s < 2; ++s) {
        for (std::size_t tile = 0; tile < tiles; ++tile) {
          const std::uint8_t* from[kTilePlanes];
          codes.find(span.begin + 8 * (begin + tile), from);
          strips[s].make(from, made + tile * kTileBytes);
        }
        for (std::size_t column = 0; column < x.count; column += most) {
          const std::size_t taken = x.count - column < most ? x.count - column : most;
          by_columns[taken - 1](made, tiles, span.tile + begin, x, column, sums + column * kLutRows + s * kTileRows);
        }
      }
    }
  }
};

}  // namespace

// The cycles were not measured: 16 instructions a column, of which small processors begin two in a cycle, and lookups
// take as many as AVX2's.
const TileKernel kTilesNeonDot = {build_plainly, NeonDot::begin, NeonDot::end, multiply_tiles<NeonDot>, 8.0, 8.0};

}  // namespace dtc
