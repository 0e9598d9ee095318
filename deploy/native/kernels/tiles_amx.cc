// Tiles multiplied by AMX.
#include "kernels/tile_products.h"
#include "kernels/tile_registers_amx.h"
#include "kernels/tile_tables.h"
#include "kernels/tiles_avx512.h"

namespace dtc {
namespace {

struct Amx : TileProducts<AmxRegisters> {
  static constexpr auto alphas = alphas_avx512;
  template <int Planes>
  using Strip = Avx512Strip<Planes, 0, MappedBits>;
};

}  // namespace

const TileKernel kTilesAmx = {build_avx512, Amx::begin, Amx::end, multiply_tiles<Amx>, 2.2, 0.11};

}  // namespace dtc
