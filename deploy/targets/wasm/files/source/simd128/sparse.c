/* Four values at a time: each takes its own number of x, loaded into a lane. */
#include "kernels/matrix.h"
#include "simd128/lanes.h"

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
