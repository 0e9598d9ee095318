#include "matrix.h"

#include <string.h>

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

void dtc_sparse_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_sparse *form = w->form;
    memset(y, 0, w->cols * sizeof *y);
    for (uint32_t k = form->starts[row]; k < form->starts[row + 1]; ++k) {
        y += form->gaps[k];
        *y = form->palette ? form->palette[form->indices[k]] : form->values[k];
    }
}
