/* Four rows at a time, two sums each: a number of x is loaded once for all four. */
#include "kernels/matrix.h"
#include "simd128/lanes.h"
#include "simd128/tiles.h"

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

/* Two rows times four vectors: of each row a sum for each vector. */
static void two_by_four(const float *a, const float *b, size_t cols, const float *x, v128_t *sums) {
    const v128_t zero = wasm_f32x4_splat(0);
    v128_t p0 = zero, p1 = zero, p2 = zero, p3 = zero, q0 = zero, q1 = zero, q2 = zero, q3 = zero;
    const float *y = x + cols, *z = y + cols, *u = z + cols;
    size_t i = 0;
    for (; i + 4 <= cols; i += 4) {
        const v128_t first = wasm_v128_load(a + i), second = wasm_v128_load(b + i);
        const v128_t r = wasm_v128_load(x + i), s = wasm_v128_load(y + i), t = wasm_v128_load(z + i), v = wasm_v128_load(u + i);
        p0 = dtc_add_product(p0, first, r);
        p1 = dtc_add_product(p1, first, s);
        p2 = dtc_add_product(p2, first, t);
        p3 = dtc_add_product(p3, first, v);
        q0 = dtc_add_product(q0, second, r);
        q1 = dtc_add_product(q1, second, s);
        q2 = dtc_add_product(q2, second, t);
        q3 = dtc_add_product(q3, second, v);
    }
    sums[0] = dtc_totals(p0, p1, p2, p3);
    sums[1] = dtc_totals(q0, q1, q2, q3);
    for (; i < cols; ++i) {
        const v128_t numbers = wasm_f32x4_make(x[i], y[i], z[i], u[i]);
        sums[0] = dtc_add_product(sums[0], wasm_f32x4_splat(a[i]), numbers);
        sums[1] = dtc_add_product(sums[1], wasm_f32x4_splat(b[i]), numbers);
    }
}

/* Add the products of some rows, of a weight of `rows`, to those of each vector. */
static void add_rows(const float *values, size_t some, const dtc_matrix *w, size_t count, const float *x, float *y) {
    const size_t rows = w->rows, cols = w->cols;
    for (; count >= DTC_TOGETHER; count -= DTC_TOGETHER, x += DTC_TOGETHER * cols, y += DTC_TOGETHER * rows)
        for (size_t row = 0; row < some; row += 2) {
            const float *at = values + row * cols;
            const size_t both = some - row < 2 ? 1 : 2;
            v128_t sums[2];
            two_by_four(at, at + (both - 1) * cols, cols, x, sums);
            for (size_t i = 0; i < both; ++i) {
                y[row + i] += wasm_f32x4_extract_lane(sums[i], 0);
                y[rows + row + i] += wasm_f32x4_extract_lane(sums[i], 1);
                y[2 * rows + row + i] += wasm_f32x4_extract_lane(sums[i], 2);
                y[3 * rows + row + i] += wasm_f32x4_extract_lane(sums[i], 3);
            }
        }
    for (; count > 0; --count, x += cols, y += rows) add_vector(values, some, cols, x, y);
}

void dtc_dense_products(const dtc_matrix *w, size_t count, const float *x, float *y, float *scratch) {
    (void)scratch;
    add_rows(w->form, w->rows, w, count, x, y);
}

void dtc_decoded_products(const dtc_matrix *w, dtc_row_decoder *row, size_t count, const float *x, float *y, float *scratch) {
    if (count < DTC_MANY) {
        for (; count > 0; --count, x += w->cols, y += w->rows) w->product(w, 0, w->rows, x, y, scratch);
        return;
    }
    for (size_t first = 0; first < w->rows; first += DTC_DECODED) {
        const size_t some = w->rows - first < DTC_DECODED ? w->rows - first : DTC_DECODED;
        for (size_t i = 0; i < some; ++i) row(w, first + i, scratch + i * w->cols);
        add_rows(scratch, some, w, count, x, y + first);
    }
}
