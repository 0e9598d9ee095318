// Tiles in plain C++, and a model of the instructions of AMX: the truth beside the kernels, and what tests run on every
// machine (DTC_OPS_ISA=model).
#include "kernels/half.h"
#include "kernels/tile_products.h"
#include "kernels/tile_tables.h"

namespace dtc {
namespace {

/// The eight tiles of a thread, as `ldtilecfg`, `tilezero`, `tileloadd`, `tdpbssd` and `tilestored` treat them.
class ModelRegisters {
 public:
  static void configure(const TileShape& shape) { state() = {shape, {}}; }
  static void release() { state() = {}; }

  template <int Tile>
  void zero() {
    for (auto& row : state().tiles[Tile]) {
      for (std::int8_t& byte : row) byte = 0;
    }
  }

  template <int Tile>
  void load(const void* from, std::size_t stride) {
    zero<Tile>();
    for (std::size_t r = 0; r < state().shape.rows[Tile]; ++r) {
      __builtin_memcpy(state().tiles[Tile][r], static_cast<const char*>(from) + r * stride,
                       state().shape.row_bytes[Tile]);
    }
  }

  template <int Tile>
  void store(void* to, std::size_t stride) {
    for (std::size_t r = 0; r < state().shape.rows[Tile]; ++r) {
      __builtin_memcpy(static_cast<char*>(to) + r * stride, state().tiles[Tile][r], state().shape.row_bytes[Tile]);
    }
  }

  /// Sum [m, n] += the products of four bytes of A [m, 4 k + i] and of B [k, 4 n + i], both signed.
  template <int Sum, int A, int B>
  void add() {
    State& now = state();
    for (std::size_t m = 0; m < now.shape.rows[Sum]; ++m) {
      for (std::size_t n = 0; n < now.shape.row_bytes[Sum] / 4U; ++n) {
        std::int32_t total;
        __builtin_memcpy(&total, now.tiles[Sum][m] + 4 * n, 4);
        for (std::size_t k = 0; k < now.shape.rows[B]; ++k) {
          for (std::size_t i = 0; i < 4; ++i) total += now.tiles[A][m][4 * k + i] * now.tiles[B][k][4 * n + i];
        }
        __builtin_memcpy(now.tiles[Sum][m] + 4 * n, &total, 4);
      }
    }
  }

 private:
  struct State {
    TileShape shape;
    std::int8_t tiles[8][16][64];
  };
  static State& state() {
    thread_local State now{};
    return now;
  }
};

struct Scalar : TileProducts<ModelRegisters> {
  static void alphas(const LutCodes& codes, const LutBlock& block, std::size_t term, std::size_t group,
                     std::size_t row, float* out) {
    const std::size_t at = term * block.term_stride + group * block.group_stride + row;
    for (std::size_t r = 0; r < kTileRows; ++r) {
      out[r] = codes.half ? float_of_half(static_cast<const std::uint16_t*>(block.alphas)[at + r])
                          : static_cast<const float*>(block.alphas)[at + r];
    }
  }

  /// Tiles of a strip: byte 4 row + p of line 8 g + bit is the level of input 32 g + 8 p + bit.
  template <int Planes>
  class Strip {
   public:
    Strip(const std::int8_t* levels, std::size_t strip) : levels_(levels), first_(strip * kTileRows) {}

    void make(const std::uint8_t* const* codes, std::int8_t* tile) const {
      for (std::size_t i = 0; i < kTileDepth; ++i) {
        for (std::size_t row = 0; row < kTileRows; ++row) {
          const std::size_t at = i / 8 * kLutRows + first_ + row, place = tile_place(i);
          tile[place / 4 * kTileDepth + 4 * row + place % 4] = level(codes, at, i % 8, row);
        }
      }
    }

   private:
    std::int8_t level(const std::uint8_t* const* codes, std::size_t at, std::size_t bit, std::size_t row) const {
      if (Planes == 0) return (codes[0][at] >> bit & 1) != 0 ? 1 : -1;
      std::size_t code = 0;
      for (std::size_t p = 0; p < Planes; ++p) code |= static_cast<std::size_t>(codes[p][at] >> bit & 1) << p;
      return levels_[code * kTileRows + row];
    }

    const std::int8_t* levels_;
    std::size_t first_;
  };
};

void measure(const float* x, std::size_t count, float* largest, float* squares) {
  float most = 0.0F, sum = 0.0F;
  for (std::size_t i = 0; i < count; ++i) {
    most = most < __builtin_fabsf(x[i]) ? __builtin_fabsf(x[i]) : most;
    sum += x[i] * x[i];
  }
  *largest = most;
  *squares = sum;
}

void build(const float* x, std::size_t inputs, const TileSpan* spans, std::size_t span_count, int digits,
           std::size_t column, std::size_t lower, const TileColumns& out) {
  for (std::size_t s = 0; s < span_count; ++s) {
    const TileSpan& span = spans[s];
    const std::size_t first = 8 * span.begin, count = (8 * span.end < inputs ? 8 * span.end : inputs) - first;
    float most, squares, sum = 0.0F;
    measure(x + first, count, &most, &squares);
    for (std::size_t i = 0; i < count; ++i) sum += x[first + i];
    const TileScale scale = tile_scale(most, sum, digits);
    std::int32_t totals[2] = {0, 0};
    for (std::size_t i = 0; i < span.tiles() * kTileDepth; ++i) {
      const int number = i < count && scale.inverse != 0.0F ? nearest(x[first + i] * scale.inverse) : 0;
      const int upper = digits == 2 ? nearest(static_cast<float>(number) / kTileBase) : 0;
      const int by_column[2] = {digits == 2 ? upper : number, number - upper * kTileBase};
      for (int d = 0; d < digits; ++d) {
        totals[d] += by_column[d];
        const std::size_t at = span.tile + i / kTileDepth;
        out.line(at, d == 0 ? column : lower)[tile_place(i % kTileDepth)] = static_cast<std::int8_t>(by_column[d]);
      }
    }
    put_factors(out, s, column, lower, digits, scale, sum, totals);
  }
}

}  // namespace

const TileKernel kTilesModel = {measure, build, multiply_tiles<Scalar>, 2.2, 0.11};

}  // namespace dtc
