/* Single rows of weights, as numbers. */
#include "codebook.h"

#include <string.h>

void dtc_dense_row(const dtc_matrix *w, size_t row, float *y) {
    memcpy(y, (const float *)w->form + row * w->cols, w->cols * sizeof *y);
}

void dtc_sparse_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_sparse *form = w->form;
    memset(y, 0, w->cols * sizeof *y);
    for (uint32_t k = form->starts[row]; k < form->starts[row + 1]; ++k) {
        y += form->gaps[k];
        *y = form->palette ? form->palette[form->indices[k]] : form->values[k];
    }
}

void dtc_codebook_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_codebook *form = w->form;
    const uint8_t *indices = dtc_row_indices(w, row);
    for (size_t col = 0; col < w->cols; ++col)
        y[col] = dtc_table_of(w, row)[dtc_index_at(indices, form->bits, col / form->block) * form->block + col % form->block];
}
