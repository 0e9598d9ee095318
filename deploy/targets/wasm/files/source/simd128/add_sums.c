#include "kernels/matrix.h"
#include "simd128/lanes.h"

static inline void add_four(v128_t sums, float *y) { wasm_v128_store(y, wasm_f32x4_add(wasm_v128_load(y), sums)); }

/* Rows whose vectors lie side by side. */
static void add_rows(const float *sums, size_t rows, float *y, size_t step) {
    for (; rows > 0; --rows, sums += DTC_WIDTH, y += step) {
        add_four(wasm_v128_load(sums), y);
        add_four(wasm_v128_load(sums + 4), y + 4);
    }
}

/* Four rows that lie side by side, of four vectors. */
static void add_turned(const float *sums, float *y, size_t step) {
    const v128_t a = wasm_v128_load(sums), b = wasm_v128_load(sums + DTC_WIDTH);
    const v128_t c = wasm_v128_load(sums + 2 * DTC_WIDTH), d = wasm_v128_load(sums + 3 * DTC_WIDTH);
    const v128_t ab = wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), cd = wasm_i32x4_shuffle(c, d, 0, 4, 1, 5);
    const v128_t ab2 = wasm_i32x4_shuffle(a, b, 2, 6, 3, 7), cd2 = wasm_i32x4_shuffle(c, d, 2, 6, 3, 7);
    add_four(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), y);
    add_four(wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7), y + step);
    add_four(wasm_i32x4_shuffle(ab2, cd2, 0, 1, 4, 5), y + 2 * step);
    add_four(wasm_i32x4_shuffle(ab2, cd2, 2, 3, 6, 7), y + 3 * step);
}

void dtc_add_sums(const float *sums, size_t at, size_t rows, size_t start, const dtc_vectors *x) {
    const size_t vectors = x->count - start < DTC_WIDTH ? x->count - start : DTC_WIDTH;
    float *y = x->y + at * x->row_step + start * x->vector_step;
    if (vectors == DTC_WIDTH && x->vector_step == 1) {
        add_rows(sums, rows, y, x->row_step);
        return;
    }
    for (; vectors == DTC_WIDTH && x->row_step == 1 && rows >= 4; rows -= 4, y += 4, sums += 4 * DTC_WIDTH) {
        add_turned(sums, y, x->vector_step);
        add_turned(sums + 4, y + 4 * x->vector_step, x->vector_step);
    }
    for (; rows > 0; --rows, y += x->row_step, sums += DTC_WIDTH)
        for (size_t k = 0; k < vectors; ++k) y[k * x->vector_step] += sums[k];
}
