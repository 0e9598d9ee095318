#include "matrix.h"

#include <string.h>

void dtc_fill_strip(const dtc_matrix *w, dtc_row_decoder *decode, size_t first, size_t count, float *strip) {
    const size_t cols = w->cols;
    float *row = strip + DTC_ROWS * cols;
    for (size_t i = 0; i < DTC_ROWS; ++i) {
        if (i < count)
            decode(w, first + i, row);
        else
            memset(row, 0, cols * sizeof *row);
        for (size_t col = 0; col < cols; ++col) strip[DTC_ROWS * col + i] = row[col];
    }
}
