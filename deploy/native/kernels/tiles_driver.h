// What the tile kernels of all instruction sets share: the levels of codes, the walk over passes and spans, and
// scaling. Local to the files that include it, as kernels/lut_driver.h; loops over 16 rows are such that compilers make
// vectors of them.
//
// `Engine` is an instruction set: alphas(...) reads the coefficients of 16 rows, Strip<Planes> makes tiles of 16 rows,
// and sum(...) multiplies them with columns, between begin(columns) and end().
#ifndef DTC_KERNELS_TILES_DRIVER_H_
#define DTC_KERNELS_TILES_DRIVER_H_

#include "kernels/tiles.h"

namespace dtc {
namespace {

/// Where a tile's column keeps input i: byte 32 g + 4 bit + p, for position p of four and g of two.
constexpr std::size_t tile_place(std::size_t i) { return i / 32 * 32 + i % 8 * 4 + i % 32 / 8; }

/// What x is multiplied with to become whole numbers, and their unit; not finite where x is not.
struct TileScale {
  float inverse, unit;
};

inline TileScale tile_scale(float largest, float sum, int digits) {
  // What is not finite shows in the sum, even where the maximum does not see it.
  if (!(sum - sum == 0.0F && largest - largest == 0.0F)) return {0.0F, __builtin_nanf("")};
  const float most = digits == 2 ? static_cast<float>(kTileLargest * kTileBase) : static_cast<float>(kTileLargest);
  largest = largest > 1e-30F ? largest : 1e-30F;
  return {most / largest, largest / most};
}

/// Writes what a span of a column has beside its bytes.
inline void put_factors(const TileColumns& out, std::size_t span, std::size_t column, std::size_t lower, int digits,
                        const TileScale& scale, float sum, const std::int32_t* totals) {
  const std::size_t at = span * out.count;
  out.scales[at + column] = digits == 2 ? scale.unit * kTileBase : scale.unit;
  out.sums[at + column] = sum;
  out.totals[at + column] = totals[0];
  if (digits != 2) return;
  out.scales[at + lower] = scale.unit;
  out.sums[at + lower] = 0.0F;
  out.totals[at + lower] = totals[1];
}

/// The planes of a pass, and what their bits mean in 16 rows: level [code * 16 + row], plane p being bit p of a code
/// and the mask the highest.
struct TileLevels {
  alignas(64) std::int8_t levels[kTileRows << kTilePlanes];
  float scales[kTileRows];
};

/// The nearest whole number, in a form that compilers make vectors of.
inline int nearest(float value) { return static_cast<int>(value + (value < 0.0F ? -0.5F : 0.5F)); }

inline bool is_masked_off(const LutCodes& codes, const TilePass& pass, std::size_t code) {
  return codes.masked && (code >> pass.planes & 1) == 0;
}

/// Levels 0, -1 and 1, exactly, of one plane or of none.
template <class Engine>
void exact_levels(const LutCodes& codes, const LutBlock& block, const TilePass& pass, std::size_t group,
                  std::size_t row, TileLevels& out) {
  Engine::alphas(codes, block, pass.planes == 0 ? codes.bits : pass.first, group, row, out.scales);
  const std::size_t count = std::size_t{1} << (pass.planes + (codes.masked ? 1 : 0));
  for (std::size_t code = 0; code < count; ++code) {
    const int level = is_masked_off(codes, pass, code) ? 0 : pass.planes == 0 || (code & 1) != 0 ? 1 : -1;
    for (std::size_t r = 0; r < kTileRows; ++r) out.levels[code * kTileRows + r] = static_cast<std::int8_t>(level);
  }
}

/// Levels in units of a 127th of the row's largest.
template <class Engine>
void rounded_levels(const LutCodes& codes, const LutBlock& block, const TilePass& pass, std::size_t group,
                    std::size_t row, TileLevels& out) {
  float alphas[kTilePlanes][kTileRows], constant[kTileRows] = {}, most[kTileRows], inverse[kTileRows];
  for (std::size_t p = 0; p < pass.planes; ++p) Engine::alphas(codes, block, pass.first + p, group, row, alphas[p]);
  if (codes.constant && pass.first == 0) Engine::alphas(codes, block, codes.bits, group, row, constant);
  float levels[1 << kTilePlanes][kTileRows];
  const std::size_t count = std::size_t{1} << pass.planes;
  for (std::size_t r = 0; r < kTileRows; ++r) most[r] = 1e-30F;
  for (std::size_t code = 0; code < count; ++code) {
    for (std::size_t r = 0; r < kTileRows; ++r) levels[code][r] = constant[r];
    for (std::size_t p = 0; p < pass.planes; ++p) {
      const float sign = (code >> p & 1) != 0 ? 1.0F : -1.0F;
      for (std::size_t r = 0; r < kTileRows; ++r) levels[code][r] += sign * alphas[p][r];
    }
    for (std::size_t r = 0; r < kTileRows; ++r) {
      const float size = __builtin_fabsf(levels[code][r]);
      most[r] = most[r] < size ? size : most[r];
    }
  }
  for (std::size_t r = 0; r < kTileRows; ++r) {
    // A coefficient that is not finite makes a level so, and that the row's scale.
    const float nothing = 0.0F * levels[0][r];
    inverse[r] = most[r] <= 3e38F ? static_cast<float>(kTileLargest) / most[r] : 0.0F;
    out.scales[r] = most[r] * (1.0F / static_cast<float>(kTileLargest)) + nothing;
  }
  const std::size_t masked = codes.masked ? count : 0;
  for (std::size_t i = 0; i < masked * kTileRows; ++i) out.levels[i] = 0;
  for (std::size_t code = 0; code < count; ++code) {
    std::int8_t* to = out.levels + (masked + code) * kTileRows;
    for (std::size_t r = 0; r < kTileRows; ++r) {
      const float level = levels[code][r] * inverse[r];
      to[r] = static_cast<std::int8_t>(nearest(level == level ? level : 0.0F));
    }
  }
}

/// The bytes of 8 positions of a block's 32 rows, plane by plane; where the block ends, followed by others.
class TileCodes {
 public:
  TileCodes(const LutCodes& codes, const LutBlock& block, const TilePass& pass) : positions_(codes.positions) {
    for (std::size_t p = 0; p < pass.planes; ++p) from_[p] = block.codes + (pass.first + p) * block.plane_stride;
    count_ = pass.planes;
    if (codes.masked) from_[count_++] = block.codes + codes.bits * block.plane_stride;
  }

  /// Writes where those from position `at` on are.
  void find(std::size_t at, const std::uint8_t** found) {
    for (std::size_t p = 0; p < count_; ++p) found[p] = from_[p] + at * kLutRows;
    if (at + 8 <= positions_) return;
    for (std::size_t p = 0; p < count_; ++p) {
      for (std::size_t i = 0; i < (positions_ - at) * kLutRows; ++i) last_[p][i] = found[p][i];
      found[p] = last_[p];
    }
  }

 private:
  std::size_t positions_, count_;
  const std::uint8_t* from_[kTilePlanes];
  alignas(64) std::uint8_t last_[kTilePlanes][8 * kLutRows] = {};
};

/// Where products go: of a column `stride` floats after those of the one before.
struct TileOutput {
  float* y;
  std::size_t stride;
};

/// y += scale of the row * scale of the column * sums; the first of them, which finds nothing there, is stored.
inline void add_tile_sums(const std::int32_t* sums, const TileLevels* levels, const float* scales, std::size_t columns,
                          bool first, const TileOutput& out) {
  float by_row[kLutRows];
  for (std::size_t r = 0; r < kLutRows; ++r) by_row[r] = levels[r / kTileRows].scales[r % kTileRows];
  for (std::size_t c = 0; c < columns; ++c) {
    const float scale = scales[c];
    const std::int32_t* const from = sums + c * kLutRows;
    float numbers[kLutRows];
    for (std::size_t r = 0; r < kLutRows; ++r) numbers[r] = static_cast<float>(from[r]) * scale * by_row[r];
    float* const to = out.y + c * out.stride;
    for (std::size_t r = 0; r < kLutRows; ++r) to[r] = first ? numbers[r] : to[r] + numbers[r];
  }
}

/// y += constant * sum of the inputs.
template <class Engine>
void add_tile_constant(const LutCodes& codes, const LutBlock& block, std::size_t group, const float* sums,
                       std::size_t columns, const TileOutput& out) {
  float constant[kLutRows];
  for (std::size_t row = 0; row < kLutRows; row += kTileRows) {
    Engine::alphas(codes, block, codes.bits, group, row, constant + row);
  }
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t r = 0; r < kLutRows; ++r) out.y[c * out.stride + r] += constant[r] * sums[c];
  }
}

/// One pass, whose codes have `Planes` bits; with 0, one whose bits are signs.
template <class Engine, int Planes>
void multiply_pass(const LutCodes& codes, const LutBlock& block, const TilePass& pass, const TileSpan* spans,
                   std::size_t span_count, const TileColumns& x, bool first, const TileOutput& out) {
  using Strip = typename Engine::template Strip<Planes>;
  TileCodes from(codes, block, pass);
  TileLevels levels[2];
  alignas(64) std::int32_t sums[kTileColumns * kLutRows];
  for (std::size_t s = 0; s < span_count; ++s) {
    const TileSpan& span = spans[s];
    for (std::size_t i = 0; i < 2; ++i) {
      if (Planes == 0) {
        Engine::alphas(codes, block, pass.first, span.group, i * kTileRows, levels[i].scales);
      } else if (pass.exact) {
        exact_levels<Engine>(codes, block, pass, span.group, i * kTileRows, levels[i]);
      } else {
        rounded_levels<Engine>(codes, block, pass, span.group, i * kTileRows, levels[i]);
      }
    }
    const Strip strips[2] = {Strip(levels[0].levels, 0), Strip(levels[1].levels, 1)};
    Engine::sum(strips, from, span, x, x.totals + s * x.count, sums);
    add_tile_sums(sums, levels, x.scales + s * x.count, x.count, first && s == 0, out);
  }
}

/// What an `Engine` needs that takes nothing from its thread.
struct NothingTaken {
  static void begin(std::size_t) {}
  static void end() {}
};

/// `TileKernel::multiply`.
template <class Engine>
void multiply_tiles(const LutCodes& codes, const LutBlock& block, const TilePass* passes, std::size_t pass_count,
                    const TileSpan* spans, std::size_t span_count, const TileColumns& x, float* y, std::size_t stride) {
  using Pass = void (*)(const LutCodes&, const LutBlock&, const TilePass&, const TileSpan*, std::size_t,
                        const TileColumns&, bool, const TileOutput&);
  constexpr Pass by_planes[] = {multiply_pass<Engine, 0>, multiply_pass<Engine, 1>, multiply_pass<Engine, 2>,
                                multiply_pass<Engine, 3>, multiply_pass<Engine, 4>};
  const TileOutput out{y, stride};
  for (std::size_t p = 0; p < pass_count; ++p) {
    const TilePass& pass = passes[p];
    const bool constant = codes.constant && !pass.exact && pass.first == 0;
    const std::size_t planes = pass.planes + (codes.masked ? 1 : 0);
    const bool signs = pass.planes == 1 && !codes.masked && !constant;
    by_planes[signs ? 0 : planes](codes, block, pass, spans, span_count, x, p == 0, out);
  }
  if (!codes.constant || codes.masked || !passes[0].exact) return;
  for (std::size_t s = 0; s < span_count; ++s) {
    add_tile_constant<Engine>(codes, block, spans[s].group, x.sums + s * x.count, x.count, out);
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILES_DRIVER_H_
