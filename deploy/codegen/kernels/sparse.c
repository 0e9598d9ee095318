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
