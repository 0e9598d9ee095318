/* Weights that are decoded, some rows at a time, and multiplied with all vectors. */
#include "matrix.h"

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
