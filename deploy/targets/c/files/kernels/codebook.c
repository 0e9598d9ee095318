#include "matrix.h"

static size_t index_at(const uint8_t *indices, size_t bits, size_t place) {
    if (bits == 8) return indices[place];
    if (bits == 16) return indices[2 * place] | (size_t)indices[2 * place + 1] << 8;
    return indices[place * bits / 8] >> place * bits % 8 & ((1u << bits) - 1);
}

static const uint8_t *row_indices(const dtc_matrix *w, size_t row) {
    const dtc_codebook *form = w->form;
    const size_t blocks = (w->cols + form->block - 1) / form->block;
    return form->indices + row * ((blocks * form->bits + 7) / 8);
}

static const float *table_of(const dtc_matrix *w, size_t row) {
    const dtc_codebook *form = w->form;
    return form->codewords + row * form->tables / w->rows * form->count * form->block;
}

static float of_numbers(const dtc_matrix *w, const uint8_t *indices, const float *table, const float *x) {
    const size_t bits = ((const dtc_codebook *)w->form)->bits;
    float sum = 0;
    if (bits == 8) {
        for (size_t i = 0; i < w->cols; ++i) sum += table[indices[i]] * x[i];
    } else {
        for (size_t i = 0; i < w->cols; ++i) sum += table[index_at(indices, bits, i)] * x[i];
    }
    return sum;
}

static float of_blocks(const dtc_matrix *w, const uint8_t *indices, const float *table, const float *x) {
    const dtc_codebook *form = w->form;
    float sum = 0;
    for (size_t start = 0, place = 0; start < w->cols; start += form->block, ++place) {
        const float *word = table + index_at(indices, form->bits, place) * form->block;
        const size_t size = w->cols - start < form->block ? w->cols - start : form->block;
        for (size_t i = 0; i < size; ++i) sum += word[i] * x[start + i];
    }
    return sum;
}

void dtc_codebook_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const size_t block = ((const dtc_codebook *)w->form)->block;
    (void)scratch;
    for (size_t i = 0; i < count; ++i) {
        const uint8_t *indices = row_indices(w, first + i);
        const float *table = table_of(w, first + i);
        y[i] += block == 1 ? of_numbers(w, indices, table, x) : of_blocks(w, indices, table, x);
    }
}

void dtc_codebook_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_codebook *form = w->form;
    const uint8_t *indices = row_indices(w, row);
    for (size_t col = 0; col < w->cols; ++col)
        y[col] = table_of(w, row)[index_at(indices, form->bits, col / form->block) * form->block + col % form->block];
}
