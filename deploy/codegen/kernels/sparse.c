#include "matrix.h"

void dtc_sparse_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_sparse *form = w->form;
    (void)scratch;
    for (size_t i = 0; i < count; ++i) {
        const uint32_t end = form->starts[first + i + 1];
        const float *at = x;
        float sum = 0;
        if (form->palette) {
            for (uint32_t k = form->starts[first + i]; k < end; ++k) {
                at += form->gaps[k];
                sum += form->palette[form->indices[k]] * *at;
            }
        } else {
            for (uint32_t k = form->starts[first + i]; k < end; ++k) {
                at += form->gaps[k];
                sum += form->values[k] * *at;
            }
        }
        y[i] += sum;
    }
}

/* A row times a strip of four vectors. */
static void add_row(const dtc_sparse *form, uint32_t k, uint32_t end, const float *at, float *sums) {
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (; k < end; ++k) {
        at += 4 * (size_t)form->gaps[k];
        const float value = form->palette ? form->palette[form->indices[k]] : form->values[k];
        s0 += value * at[0];
        s1 += value * at[1];
        s2 += value * at[2];
        s3 += value * at[3];
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

void dtc_sparse_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    const dtc_sparse *form = w->form;
    float sums[4];
    (void)scratch;
    for (size_t i = 0; i < count; ++i)
        for (size_t start = 0; start < x->count; start += 4) {
            add_row(form, form->starts[first + i], form->starts[first + i + 1], x->panel + start * w->cols, sums);
            dtc_add_sums(sums, i, 1, start, x);
        }
}
