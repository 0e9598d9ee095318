/* Four values at a time: each takes its own number of x, loaded into a lane. */
#include "kernels/matrix.h"
#include "simd128/lanes.h"
#include "simd128/tiles.h"

typedef struct {
    const float *at;
    v128_t numbers;
} gathered;

/* The numbers of x that four gaps lead to, one from the other. */
static inline gathered gather(const uint8_t *gaps, const float *at) {
    const float *a = at + gaps[0], *b = a + gaps[1], *c = b + gaps[2], *d = c + gaps[3];
    v128_t numbers = wasm_v128_load32_zero(a);
    numbers = wasm_v128_load32_lane(b, numbers, 1);
    numbers = wasm_v128_load32_lane(c, numbers, 2);
    return (gathered){d, wasm_v128_load32_lane(d, numbers, 3)};
}

static float of_values(const dtc_sparse *form, size_t k, size_t end, const float *at) {
    v128_t sums = wasm_f32x4_splat(0);
    for (; k + 4 <= end; k += 4) {
        const gathered found = gather(form->gaps + k, at);
        sums = dtc_add_product(sums, wasm_v128_load(form->values + k), found.numbers);
        at = found.at;
    }
    float sum = dtc_total(sums);
    for (; k < end; ++k) {
        at += form->gaps[k];
        sum += form->values[k] * *at;
    }
    return sum;
}

static float of_palette(const dtc_sparse *form, size_t k, size_t end, const float *at) {
    v128_t sums = wasm_f32x4_splat(0);
    for (; k + 4 <= end; k += 4) {
        const gathered found = gather(form->gaps + k, at);
        sums = dtc_add_product(sums, dtc_four_of(form->palette, form->indices + k), found.numbers);
        at = found.at;
    }
    float sum = dtc_total(sums);
    for (; k < end; ++k) {
        at += form->gaps[k];
        sum += form->palette[form->indices[k]] * *at;
    }
    return sum;
}

void dtc_sparse_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_sparse *form = w->form;
    (void)scratch;
    for (size_t i = 0; i < count; ++i) {
        const size_t begin = form->starts[first + i], end = form->starts[first + i + 1];
        y[i] += form->palette ? of_palette(form, begin, end, x) : of_values(form, begin, end, x);
    }
}

/* The sums of a row for four vectors, whose numbers of a column lie together. */
static v128_t of_four(const dtc_sparse *form, size_t k, size_t end, const float *at) {
    v128_t even = wasm_f32x4_splat(0), odd = even;
    for (; k < end; ++k) {
        at += DTC_TOGETHER * (size_t)form->gaps[k];
        const float *value = form->palette ? form->palette + form->indices[k] : form->values + k;
        const v128_t sum = dtc_add_product(odd, wasm_v128_load32_splat(value), wasm_v128_load(at));
        odd = even;
        even = sum;
    }
    return wasm_f32x4_add(even, odd);
}

void dtc_sparse_products(const dtc_matrix *w, size_t count, const float *x, float *y, float *scratch) {
    const dtc_sparse *form = w->form;
    const size_t rows = w->rows, cols = w->cols;
    for (; count >= DTC_TOGETHER; count -= DTC_TOGETHER, x += DTC_TOGETHER * cols, y += DTC_TOGETHER * rows) {
        for (size_t col = 0; col < cols; ++col)
            for (size_t i = 0; i < DTC_TOGETHER; ++i) scratch[DTC_TOGETHER * col + i] = x[i * cols + col];
        for (size_t row = 0; row < rows; ++row) {
            float sums[DTC_TOGETHER];
            wasm_v128_store(sums, of_four(form, form->starts[row], form->starts[row + 1], scratch));
            for (size_t i = 0; i < DTC_TOGETHER; ++i) y[i * rows + row] += sums[i];
        }
    }
    for (; count > 0; --count, x += cols, y += rows) dtc_sparse_product(w, 0, rows, x, y, scratch);
}
