#include "matrix.h"

void dtc_add_sums(const float *sums, size_t at, size_t rows, size_t start, const dtc_vectors *x) {
    const size_t vectors = x->count - start < DTC_WIDTH ? x->count - start : DTC_WIDTH;
    float *y = x->y + at * x->row_step + start * x->vector_step;
    if (vectors == DTC_WIDTH && x->vector_step == 1) {
        for (; rows > 0; --rows, y += x->row_step, sums += DTC_WIDTH)
            for (size_t k = 0; k < DTC_WIDTH; ++k) y[k] += sums[k];
        return;
    }
    for (; rows > 0; --rows, y += x->row_step, sums += DTC_WIDTH)
        for (size_t k = 0; k < vectors; ++k) y[k * x->vector_step] += sums[k];
}
