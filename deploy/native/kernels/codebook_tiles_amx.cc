// Tiles of codewords looked up by VBMI and multiplied by AMX.
#include "kernels/codebook_places_avx512.h"
#include "kernels/codebook_tiles_driver.h"
#include "kernels/codebook_tiles_tables.h"
#include "kernels/tile_registers_amx.h"

namespace dtc {
namespace {

template <std::size_t Group>
class Look {
 public:
  static constexpr std::size_t group = Group;

  Look(const ByteWords& words, int digit, std::size_t place) {
#pragma GCC unroll 4
    for (std::size_t p = 0; p < Group; ++p) tables_[p] = PlaceTable(words, digit, place + p);
  }

  void at(const std::uint8_t* from, std::size_t count, std::size_t step, std::int8_t* to) const {
    const __m512i codes = codes_at(from, count);
    const __mmask64 upper = _mm512_movepi8_mask(codes);
#pragma GCC unroll 4
    for (std::size_t p = 0; p < Group; ++p) _mm512_store_si512(to + p * step, tables_[p].find(codes, upper));
  }

 private:
  PlaceTable tables_[Group];
};

/// Sixteen words, by both halves of a byte.
class LookHalves {
 public:
  static constexpr std::size_t group = 2;

  LookHalves(const ByteWords& words, int digit, std::size_t) : table_(words, digit) {}

  void at(const std::uint8_t* from, std::size_t count, std::size_t step, std::int8_t* to) const {
    const __m512i codes = codes_at(from, count);
    _mm512_store_si512(to, table_.lower(codes));
    _mm512_store_si512(to + step, table_.upper(codes));
  }

 private:
  HalfTable table_;
};

struct Looks {
  template <std::size_t Group>
  using Some = Look<Group>;
  using Halves = LookHalves;
};

using Tiles = CodebookTiles<AmxRegisters, Looks>;

void build(const float* x, std::size_t inputs, std::size_t places, int digits, std::size_t column, std::size_t lower,
           const TileColumns& out) {
  build_places(x, inputs, places, digits, column, lower, out,
               [&](const std::int8_t* numbers, std::size_t to, const TileColumns& part) {
                 scatter_places(numbers, places, to, part);
               });
}

}  // namespace

const CodebookTileKernel kCodebookTilesAmx = {build, Tiles::begin, Tiles::end, Tiles::multiply, 3};

}  // namespace dtc
