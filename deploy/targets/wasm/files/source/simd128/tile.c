#include "simd128/tile.h"

void dtc_tile(size_t cols, const float *rows, const float *vectors, float *sums) {
    const float *const each[DTC_ROWS] = {rows, rows + 1, rows + 2, rows + 3};
    v128_t found[2 * DTC_ROWS];
    dtc_sum_rows(cols, each, DTC_ROWS, vectors, found);
    for (size_t i = 0; i < 2 * DTC_ROWS; ++i) wasm_v128_store(sums + 4 * i, found[i]);
}
