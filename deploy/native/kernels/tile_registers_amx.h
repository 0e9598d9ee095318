// The instructions of AMX. Local to the files that include it.
#ifndef DTC_KERNELS_TILE_REGISTERS_AMX_H_
#define DTC_KERNELS_TILE_REGISTERS_AMX_H_

#include <cstddef>

#include "kernels/tile_products.h"

namespace dtc {
namespace {

/// By assembly: GCC 12 loses the stores that its own intrinsic for the configuration reads, and the numbers of tiles
/// come from templates.
struct AmxRegisters {
  static void configure(const TileShape& shape) { __asm__ volatile("ldtilecfg %0" ::"m"(shape)); }
  static void release() { __asm__ volatile("tilerelease"); }

  template <int Tile>
  void zero() {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(Tile));
  }
  template <int Tile>
  void load(const void* from, std::size_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Tile>
  void store(void* to, std::size_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Sum, int A, int B>
  void add() {
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(B));
  }
};

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILE_REGISTERS_AMX_H_
