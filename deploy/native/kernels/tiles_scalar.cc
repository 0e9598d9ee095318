// Tiles in plain C++, multiplied by a model of the instructions of AMX: the truth beside the kernels, and what tests
// run on every machine (DTC_OPS_ISA=model).
#include "kernels/half.h"
#include "kernels/tile_model.h"
#include "kernels/tile_numbers.h"
#include "kernels/tile_products.h"
#include "kernels/tile_tables.h"

namespace dtc {
namespace {

struct Scalar : TileProducts<ModelRegisters> {
  static void alphas(const LutCodes& codes, const LutBlock& block, std::size_t term, std::size_t group, std::size_t row,
                     float* out) {
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

}  // namespace

const TileKernel kTilesModel = {build_plainly, Scalar::begin, Scalar::end, multiply_tiles<Scalar>, 2.2, 0.11};

}  // namespace dtc
