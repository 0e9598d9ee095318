/* Weights that are decoded, some rows at a time, and multiplied with all vectors. */
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

void dtc_add_strip(size_t cols, const float *strip, size_t at, size_t count, const dtc_vectors *x) {
    float sums[DTC_ROWS * DTC_WIDTH];
    const float *vectors = x->panel;
    for (size_t start = 0; start < x->count; start += DTC_WIDTH, vectors += DTC_WIDTH * cols) {
        dtc_tile(cols, strip, vectors, sums);
        dtc_add_sums(sums, at, count, start, x);
    }
}

void dtc_decoded_products(const dtc_matrix *w, dtc_row_decoder *decode, size_t first, size_t count, const dtc_vectors *x,
                          float *scratch) {
    for (size_t at = 0; at < count; at += DTC_ROWS) {
        const size_t rows = count - at < DTC_ROWS ? count - at : DTC_ROWS;
        dtc_fill_strip(w, decode, first + at, rows, scratch);
        dtc_add_strip(w->cols, scratch, at, rows, x);
    }
}
