#include "codebook.h"

/* Of 4 and 8 bits in loops of their own, a byte at a time. */
static float of_numbers(const dtc_matrix *w, const uint8_t *indices, const float *table, const float *x) {
    const size_t bits = ((const dtc_codebook *)w->form)->bits, cols = w->cols;
    float sum = 0, other = 0;
    size_t i = 0;
    if (bits == 8) {
        for (; i + 2 <= cols; i += 2) {
            sum += table[indices[i]] * x[i];
            other += table[indices[i + 1]] * x[i + 1];
        }
    } else if (bits == 4) {
        for (; i + 2 <= cols; i += 2) {
            const unsigned both = indices[i / 2];
            sum += table[both & 15] * x[i];
            other += table[both >> 4] * x[i + 1];
        }
    } else if (bits < 4) {
        const unsigned mask = (1u << bits) - 1, count = 8 / (unsigned)bits;
        for (; i + count <= cols; i += count) {
            unsigned several = *indices++;
            for (unsigned k = 0; k < count; ++k, several >>= bits) sum += table[several & mask] * x[i + k];
        }
        indices -= i / count;
    }
    for (; i < cols; ++i) sum += table[dtc_index_at(indices, bits, i)] * x[i];
    return sum + other;
}

static float of_blocks(const dtc_matrix *w, const uint8_t *indices, const float *table, const float *x) {
    const dtc_codebook *form = w->form;
    const size_t block = form->block;
    const float *const end = x + w->cols;
    float sum = 0;
    for (size_t place = 0; x < end; ++place) {
        const size_t index = form->bits == 8 ? indices[place] : dtc_index_at(indices, form->bits, place);
        const float *word = table + index * block;
        size_t left = (size_t)(end - x) < block ? (size_t)(end - x) : block;
        for (; left >= 4; left -= 4, word += 4, x += 4)
            sum += word[0] * x[0] + word[1] * x[1] + (word[2] * x[2] + word[3] * x[3]);
        for (; left > 0; --left) sum += *word++ * *x++;
    }
    return sum;
}

void dtc_codebook_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const size_t block = ((const dtc_codebook *)w->form)->block;
    (void)scratch;
    for (size_t i = 0; i < count; ++i) {
        const uint8_t *indices = dtc_row_indices(w, first + i);
        const float *table = dtc_table_of(w, first + i);
        y[i] += block == 1 ? of_numbers(w, indices, table, x) : of_blocks(w, indices, table, x);
    }
}
