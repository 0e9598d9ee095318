#include "products.h"

#include <string.h>

static void set_bias(const float *bias, size_t rows, size_t count, float *y) {
    for (size_t i = 0; i < count; ++i, y += rows) {
        if (bias)
            memcpy(y, bias, rows * sizeof *y);
        else
            memset(y, 0, rows * sizeof *y);
    }
}

void dtc_linear(const dtc_matrix *w, const float *bias, size_t count, const float *x, float *y, float *scratch) {
    set_bias(bias, w->rows, count, y);
    for (size_t i = 0; i < count; ++i) w->product(w, 0, w->rows, x + i * w->cols, y + i * w->rows, scratch);
}

void dtc_pack(size_t count, size_t cols, const float *x, ptrdiff_t step, float *panel) {
    for (; count > 0; panel += cols * DTC_WIDTH) {
        const size_t some = count < DTC_WIDTH ? count : DTC_WIDTH;
        for (size_t k = 0; k < DTC_WIDTH; ++k) {
            for (size_t col = 0; col < cols; ++col) panel[DTC_WIDTH * col + k] = k < some ? x[col] : 0;
            if (k < some) x += step;
        }
        count -= some;
    }
}

void dtc_linear_many(const dtc_matrix *w, const float *bias, size_t count, size_t most, const float *x, float *y,
                     float *scratch) {
    const size_t rows = w->rows, cols = w->cols;
    set_bias(bias, rows, count, y);
    for (size_t some; count > 0; count -= some, x += some * cols, y += some * rows) {
        some = count < most ? count : most;
        dtc_pack(some, cols, x, (ptrdiff_t)cols, scratch);
        const dtc_vectors vectors = {some, scratch, y, 1, rows};
        w->products(w, 0, rows, &vectors, scratch + most * cols);
    }
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
