#include "products.h"

#include <string.h>

void dtc_linear(const dtc_matrix *w, const float *bias, size_t count, const float *x, float *y, float *scratch) {
    for (size_t i = 0; i < count; ++i) {
        if (bias)
            memcpy(y + i * w->rows, bias, w->rows * sizeof *y);
        else
            memset(y + i * w->rows, 0, w->rows * sizeof *y);
    }
    if (count > 1 && w->products) {
        w->products(w, count, x, y, scratch);
        return;
    }
    for (size_t i = 0; i < count; ++i) w->product(w, 0, w->rows, x + i * w->cols, y + i * w->rows, scratch);
}

void dtc_matmul(const dtc_matmul_shape *shape, const float *a, const float *b, float *y) {
    for (size_t batch = 0; batch < shape->batch; ++batch, a += shape->a_batch, b += shape->b_batch)
        for (size_t m = 0; m < shape->m; ++m)
            for (size_t n = 0; n < shape->n; ++n) {
                const float *p = a + m * shape->a_row, *q = b + n * shape->b_col;
                float sum = 0;
                for (size_t k = 0; k < shape->k; ++k) sum += p[k * shape->a_col] * q[k * shape->b_row];
                *y++ = sum;
            }
}

#define ROWS(name, type)                                                              \
    void name(const dtc_matrix *w, size_t count, const type *ids, float *y) {         \
        for (size_t i = 0; i < count; ++i, y += w->cols) {                            \
            const int64_t rows = (int64_t)w->rows;                                    \
            int64_t id = ids[i] < 0 ? ids[i] + rows : ids[i];                         \
            id = id < 0 ? 0 : id >= rows ? rows - 1 : id;                             \
            w->row(w, (size_t)id, y);                                                 \
        }                                                                             \
    }

ROWS(dtc_rows_int64, int64_t)
ROWS(dtc_rows_int32, int32_t)
