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
    const float *table = dtc_table_of(w, row);
    const size_t block = form->block, bits = form->bits, cols = w->cols;
    if (block == 1 && bits == 16)
        for (size_t col = 0; col < cols; ++col) y[col] = table[dtc_index_at(indices, 16, col)];
    else if (block == 1 && bits == 8)
        for (size_t col = 0; col < cols; ++col) y[col] = table[dtc_index_at(indices, 8, col)];
    else if (block == 1)
        for (size_t col = 0; col < cols; ++col) y[col] = table[dtc_index_at(indices, bits, col)];
    else
        for (size_t col = 0, place = 0; col < cols; ++place)
            for (const float *word = table + dtc_index_at(indices, bits, place) * block, *const end = word + block;
                 word != end && col < cols; ++word, ++col)
                y[col] = *word;
}

void dtc_codebook_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    dtc_decoded_products(w, dtc_codebook_row, first, count, x, scratch);
}
