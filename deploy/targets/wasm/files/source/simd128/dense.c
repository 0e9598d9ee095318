/* Four rows at a time, two sums each: a number of x is loaded once for all four. */
#include "kernels/matrix.h"
#include "simd128/lanes.h"
#include "simd128/tile.h"

static float dot(const float *a, const float *x, size_t count) {
    v128_t low = wasm_f32x4_splat(0), high = low;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        low = dtc_add_product(low, wasm_v128_load(a + i), wasm_v128_load(x + i));
        high = dtc_add_product(high, wasm_v128_load(a + i + 4), wasm_v128_load(x + i + 4));
    }
    float sum = dtc_total(wasm_f32x4_add(low, high));
    for (; i < count; ++i) sum += a[i] * x[i];
    return sum;
}

static v128_t four_dots(const float *a, size_t cols, const float *x) {
    const float *b = a + cols, *c = b + cols, *d = c + cols;
    v128_t s0 = wasm_f32x4_splat(0), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
    size_t i = 0;
    for (; i + 8 <= cols; i += 8) {
        const v128_t low = wasm_v128_load(x + i), high = wasm_v128_load(x + i + 4);
        s0 = dtc_add_product(s0, wasm_v128_load(a + i), low);
        s1 = dtc_add_product(s1, wasm_v128_load(b + i), low);
        s2 = dtc_add_product(s2, wasm_v128_load(c + i), low);
        s3 = dtc_add_product(s3, wasm_v128_load(d + i), low);
        t0 = dtc_add_product(t0, wasm_v128_load(a + i + 4), high);
        t1 = dtc_add_product(t1, wasm_v128_load(b + i + 4), high);
        t2 = dtc_add_product(t2, wasm_v128_load(c + i + 4), high);
        t3 = dtc_add_product(t3, wasm_v128_load(d + i + 4), high);
    }
    v128_t sums = dtc_totals(wasm_f32x4_add(s0, t0), wasm_f32x4_add(s1, t1), wasm_f32x4_add(s2, t2),
                             wasm_f32x4_add(s3, t3));
    for (; i < cols; ++i)
        sums = dtc_add_product(sums, wasm_f32x4_make(a[i], b[i], c[i], d[i]), wasm_f32x4_splat(x[i]));
    return sums;
}

static void add_vector(const float *values, size_t rows, size_t cols, const float *x, float *y) {
    size_t i = 0;
    for (; i + 4 <= rows; i += 4, values += 4 * cols)
        wasm_v128_store(y + i, wasm_f32x4_add(wasm_v128_load(y + i), four_dots(values, cols, x)));
    for (; i < rows; ++i, values += cols) y[i] += dot(values, x, cols);
}

void dtc_dense_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    (void)scratch;
    add_vector((const float *)w->form + first * w->cols, count, w->cols, x, y);
}

void dtc_dense_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    const float *values = (const float *)w->form + first * w->cols;
    v128_t found[2 * DTC_ROWS];
    float sums[DTC_ROWS * DTC_WIDTH];
    (void)scratch;
    for (size_t at = 0; at < count; at += DTC_ROWS, values += DTC_ROWS * w->cols) {
        const size_t rows = count - at < DTC_ROWS ? count - at : DTC_ROWS;
        const float *each[DTC_ROWS];
        /* Rows that are missing are not added anywhere, and may have any numbers. */
        for (size_t i = 0; i < DTC_ROWS; ++i) each[i] = values + (i < rows ? i : 0) * w->cols;
        for (size_t start = 0; start < x->count; start += DTC_WIDTH) {
            dtc_sum_rows(w->cols, each, 1, x->panel + start * w->cols, found);
            for (size_t i = 0; i < 2 * DTC_ROWS; ++i) wasm_v128_store(sums + 4 * i, found[i]);
            dtc_add_sums(sums, at, rows, start, x);
        }
    }
}
