// Tiles made with GFNI and multiplied by VNNI.
#include "kernels/tile_products_vnni.h"
#include "kernels/tile_tables.h"
#include "kernels/tiles_avx512.h"

namespace dtc {
namespace {

/// The tiles of a span, for `sum_made`.
template <class Strip>
class SpanTiles {
 public:
  SpanTiles(const Strip* strips, TileCodes& codes, std::size_t begin) : strips_(strips), codes_(codes), at_(begin) {}

  void next() {
    if (strip_ == 0 && half_ == 0) {
      codes_.find(at_, from_);
      at_ += 8;
    }
    now_ = strips_ + strip_;
    now_->load(from_, half_, quads_);
    strip_ ^= half_;
    half_ ^= 1;
  }

  template <int Line>
  __m512i line() const {
    return now_->template line<Line>(quads_);
  }

 private:
  const Strip* const strips_;
  TileCodes& codes_;
  std::size_t at_, strip_ = 0, half_ = 0;
  const Strip* now_ = nullptr;
  const std::uint8_t* from_[kTilePlanes] = {};
  __m512i quads_[Strip::registers];
};

template <class Bits>
struct Vnni : NothingTaken {
  static constexpr auto alphas = alphas_avx512;
  template <int Planes>
  using Strip = Avx512Strip<Planes, kVnniOffset, Bits>;

  template <class Strip>
  static void sum(const Strip* strips, TileCodes& codes, const TileSpan& span, const TileColumns& x,
                  const std::int32_t* totals, std::int32_t* sums) {
    SpanTiles<Strip> tiles(strips, codes, span.begin);
    sum_made(tiles, span.tiles(), span.tile, x, totals, sums);
  }
};

}  // namespace

const TileKernel kTilesVnni = {
    build_avx512, NothingTaken::begin, NothingTaken::end, multiply_tiles<Vnni<MappedBits>>, 2.2, 1.15};
// Zen 4 has the same units for GFNI as for VNNI, and others for shifts.
const TileKernel kTilesVnniHalved = {
    build_avx512, NothingTaken::begin, NothingTaken::end, multiply_tiles<Vnni<ShiftedBits>>, 3.2, 2.1};

}  // namespace dtc
