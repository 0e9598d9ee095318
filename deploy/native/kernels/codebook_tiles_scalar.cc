// The truth beside the kernels of tiles of codewords, on a model of AMX's instructions.
#include "kernels/codebook_tiles_driver.h"
#include "kernels/codebook_tiles_tables.h"
#include "kernels/tile_model.h"
#include "kernels/tile_numbers.h"

namespace dtc {
namespace {

template <std::size_t Group>
class Look {
 public:
  static constexpr std::size_t group = Group;

  Look(const ByteWords& words, int digit, std::size_t place)
      : tables_(words.tables + (static_cast<std::size_t>(digit) * words.places + place) * 256) {}

  void at(const std::uint8_t* codes, std::size_t count, std::size_t step, std::int8_t* to) const {
    for (std::size_t p = 0; p < Group; ++p) {
      for (std::size_t k = 0; k < kTileDepth; ++k) {
        to[p * step + k] = k < count ? tables_[p * 256 + codes[k]] : std::int8_t{0};
      }
    }
  }

 private:
  const std::int8_t* tables_;
};

struct Looks {
  template <std::size_t Group>
  using Some = Look<Group>;
  using Halves = Look<2>;
};

using Tiles = CodebookTiles<ModelRegisters, Looks>;

void build(const float* x, std::size_t inputs, std::size_t places, int digits, std::size_t column, std::size_t lower,
           const TileColumns& out) {
  float largest, sum;
  measure_plainly(x, inputs, &largest, &sum);
  const TileScale scale = tile_scale(largest, sum, digits);
  const std::size_t step = kTileDepth * places, most = (inputs + step - 1) / step * step;
  std::int8_t numbers[2][kTileDepth * kMostPlaces];
  for (std::size_t begin = 0, tile = 0; begin < most; begin += step, tile += places) {
    for (std::size_t i = 0; i < step; ++i) {
      const bool there = begin + i < inputs && scale.inverse != 0.0F;
      const TileNumber number = tile_number(there ? x[begin + i] * scale.inverse : 0.0F, digits);
      numbers[0][i] = number.upper;
      numbers[1][i] = number.lower;
    }
    TileColumns part = out;
    part.tiles += tile * out.strips * kTileBytes;
    for (int d = 0; d < digits; ++d) scatter_places(numbers[d], places, d == 0 ? column : lower, part);
  }
  const std::int32_t totals[2] = {0, 0};
  put_factors(out, 0, column, lower, digits, scale, sum, totals);
}

}  // namespace

const CodebookTileKernel kCodebookTilesModel = {build, Tiles::begin, Tiles::end, Tiles::multiply, 3};

}  // namespace dtc
