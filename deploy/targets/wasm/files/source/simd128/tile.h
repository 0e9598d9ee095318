/* Four rows times eight vectors: eight sums of four numbers. A number of a row is spread, and meets all vectors. */
#ifndef DTC_TILE_H
#define DTC_TILE_H

#include "kernels/matrix.h"
#include "simd128/lanes.h"

_Static_assert(DTC_WIDTH == 8 && DTC_ROWS == 4, "eight registers of sums");

/* Column `col` of row i is rows[i][col * step]; the step is constant where this is called. One column a turn: of more,
 * engines keep what they load in memory. */
static inline void dtc_sum_rows(size_t cols, const float *const *rows, size_t step, const float *vectors, v128_t *sums) {
    const float *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    for (size_t i = 0; i < 2 * DTC_ROWS; ++i) sums[i] = wasm_f32x4_splat(0);
    for (const float *const end = vectors + DTC_WIDTH * cols; vectors != end; vectors += DTC_WIDTH) {
        const v128_t low = wasm_v128_load(vectors), high = wasm_v128_load(vectors + 4);
        const v128_t numbers[DTC_ROWS] = {wasm_v128_load32_splat(a), wasm_v128_load32_splat(b), wasm_v128_load32_splat(c),
                                          wasm_v128_load32_splat(d)};
        for (size_t i = 0; i < DTC_ROWS; ++i) {
            sums[2 * i] = dtc_add_product(sums[2 * i], numbers[i], low);
            sums[2 * i + 1] = dtc_add_product(sums[2 * i + 1], numbers[i], high);
        }
        a += step, b += step, c += step, d += step;
    }
}

#endif
