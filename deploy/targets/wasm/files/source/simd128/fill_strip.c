/* Rows are decoded one after the other behind the strip, and put side by side four columns at a time. */
#include "kernels/matrix.h"
#include "simd128/lanes.h"

static void put_side_by_side(const float *const *rows, size_t cols, float *strip) {
    const float *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    size_t col = 0;
    for (; col + 4 <= cols; col += 4, strip += 4 * DTC_ROWS) {
        const v128_t p = wasm_v128_load(a + col), q = wasm_v128_load(b + col);
        const v128_t r = wasm_v128_load(c + col), s = wasm_v128_load(d + col);
        const v128_t pq = wasm_i32x4_shuffle(p, q, 0, 4, 1, 5), rs = wasm_i32x4_shuffle(r, s, 0, 4, 1, 5);
        const v128_t pq2 = wasm_i32x4_shuffle(p, q, 2, 6, 3, 7), rs2 = wasm_i32x4_shuffle(r, s, 2, 6, 3, 7);
        wasm_v128_store(strip, wasm_i32x4_shuffle(pq, rs, 0, 1, 4, 5));
        wasm_v128_store(strip + 4, wasm_i32x4_shuffle(pq, rs, 2, 3, 6, 7));
        wasm_v128_store(strip + 8, wasm_i32x4_shuffle(pq2, rs2, 0, 1, 4, 5));
        wasm_v128_store(strip + 12, wasm_i32x4_shuffle(pq2, rs2, 2, 3, 6, 7));
    }
    for (; col < cols; ++col, strip += DTC_ROWS)
        wasm_v128_store(strip, wasm_f32x4_make(a[col], b[col], c[col], d[col]));
}

void dtc_fill_strip(const dtc_matrix *w, dtc_row_decoder *decode, size_t first, size_t count, float *strip) {
    float *const decoded = strip + DTC_ROWS * w->cols;
    const float *rows[DTC_ROWS];
    for (size_t i = 0; i < DTC_ROWS; ++i) {
        rows[i] = decoded + (i < count ? i : 0) * w->cols;
        if (i < count) decode(w, first + i, decoded + i * w->cols);
    }
    put_side_by_side(rows, w->cols, strip);
}
