#include "simd128/lookups.h"

#include <string.h>

/* The larger of `most` and the sums of `columns` sizes each; of a number that is none the maximum is none. */
static v128_t largest(v128_t x, size_t columns, v128_t most) {
    v128_t sums = wasm_f32x4_abs(x);
    if (columns > 1) sums = wasm_f32x4_add(sums, wasm_i32x4_shuffle(sums, sums, 1, 0, 3, 2));
    if (columns > 2) sums = wasm_f32x4_add(sums, wasm_i32x4_shuffle(sums, sums, 2, 3, 0, 1));
    return wasm_f32x4_max(sums, most);
}

float dtc_largest(const float *x, size_t count, size_t columns) {
    v128_t four = wasm_f32x4_splat(0);
    float last[4] = {0};
    size_t i = 0;
    for (; i + 4 <= count; i += 4) four = largest(wasm_v128_load(x + i), columns, four);
    memcpy(last, x + i, (count - i) * sizeof *x);
    four = largest(wasm_v128_load(last), columns, four);
    four = wasm_f32x4_max(four, wasm_i32x4_shuffle(four, four, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(wasm_f32x4_max(four, wasm_i32x4_shuffle(four, four, 1, 0, 3, 2)), 0);
}

void dtc_add_tiles(const dtc_matrix *w, size_t first, size_t count, dtc_tile_adder *add, const dtc_prepared *x, float *y) {
    const size_t end = first + count;
    for (size_t row = first; row < end;) {
        const size_t tile = row / DTC_TILE, lane = row % DTC_TILE, left = DTC_TILE - lane;
        const size_t rows = end - row < left ? end - row : left;
        if (rows == DTC_TILE) {
            add(w, tile, x, y);
        } else {
            float part[DTC_TILE] = {0};
            add(w, tile, x, part);
            for (size_t i = 0; i < rows; ++i) y[i] += part[lane + i];
        }
        row += rows;
        y += rows;
    }
}
