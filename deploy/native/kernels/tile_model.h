// A model of the instructions of AMX in plain C++. Local to the files that include it.
#ifndef DTC_KERNELS_TILE_MODEL_H_
#define DTC_KERNELS_TILE_MODEL_H_

#include <cstddef>
#include <cstdint>

#include "kernels/tile_products.h"

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

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILE_MODEL_H_
