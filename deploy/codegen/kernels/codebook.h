/* Where the indices and codewords of a row are. */
#ifndef DTC_CODEBOOK_H
#define DTC_CODEBOOK_H

#include "matrix.h"

static inline size_t dtc_index_at(const uint8_t *indices, size_t bits, size_t place) {
    if (bits == 8) return indices[place];
    if (bits == 16) return indices[2 * place] | (size_t)indices[2 * place + 1] << 8;
    return indices[place * bits / 8] >> place * bits % 8 & ((1u << bits) - 1);
}

static inline const uint8_t *dtc_row_indices(const dtc_matrix *w, size_t row) {
    const dtc_codebook *form = w->form;
    const size_t blocks = (w->cols + form->block - 1) / form->block;
    return form->indices + row * ((blocks * form->bits + 7) / 8);
}

static inline const float *dtc_table_of(const dtc_matrix *w, size_t row) {
    const dtc_codebook *form = w->form;
    return form->codewords + row * form->tables / w->rows * form->count * form->block;
}

#endif
