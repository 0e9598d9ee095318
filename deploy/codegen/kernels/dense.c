#include "matrix.h"

/* Four sums, so that a multiplication need not wait for the one before. */
static float dot(const float *a, const float *b, size_t count) {
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        s0 += a[i] * b[i];
        s1 += a[i + 1] * b[i + 1];
        s2 += a[i + 2] * b[i + 2];
        s3 += a[i + 3] * b[i + 3];
    }
    for (; i < count; ++i) s0 += a[i] * b[i];
    return (s0 + s1) + (s2 + s3);
}

void dtc_dense_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const float *row = (const float *)w->form + first * w->cols;
    (void)scratch;
    for (size_t i = 0; i < count; ++i, row += w->cols) y[i] += dot(row, x, w->cols);
}

void dtc_dense_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    dtc_decoded_products(w, dtc_dense_row, first, count, x, scratch);
}
