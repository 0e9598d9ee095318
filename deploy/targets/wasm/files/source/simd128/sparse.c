/* Four values at a time: each takes its own number of x, loaded into a lane. */
#include "kernels/matrix.h"
#include "simd128/lanes.h"
#include "simd128/tiles.h"

#include <stdbool.h>

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

/* A row times two strips of eight vectors. */
static inline void of_strips(const dtc_sparse *form, size_t k, size_t end, const float *at, size_t other, float *sums) {
    v128_t a = wasm_f32x4_splat(0), b = a, c = a, d = a;
    for (; k < end; ++k) {
        at += DTC_WIDTH * (size_t)form->gaps[k];
        const v128_t value = wasm_v128_load32_splat(form->palette ? form->palette + form->indices[k] : form->values + k);
        a = dtc_add_product(a, value, wasm_v128_load(at));
        b = dtc_add_product(b, value, wasm_v128_load(at + 4));
        c = dtc_add_product(c, value, wasm_v128_load(at + other));
        d = dtc_add_product(d, value, wasm_v128_load(at + other + 4));
    }
    wasm_v128_store(sums, a);
    wasm_v128_store(sums + 4, b);
    wasm_v128_store(sums + 8, c);
    wasm_v128_store(sums + 12, d);
}

void dtc_sparse_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    const dtc_sparse *form = w->form;
    float sums[2 * DTC_WIDTH];
    (void)scratch;
    for (size_t i = 0; i < count; ++i)
        for (size_t start = 0; start < x->count; start += 2 * DTC_WIDTH) {
            const bool both = x->count - start > DTC_WIDTH;
            of_strips(form, form->starts[first + i], form->starts[first + i + 1], x->panel + start * w->cols,
                      both ? DTC_WIDTH * w->cols : 0, sums);
            dtc_add_sums(sums, i, 1, start, x);
            if (both) dtc_add_sums(sums + DTC_WIDTH, i, 1, start + DTC_WIDTH, x);
        }
}
