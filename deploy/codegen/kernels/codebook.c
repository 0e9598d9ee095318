#include "codebook.h"
#include "nibbles.h"

#include <stdbool.h>

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

static inline float dot(const float *word, const float *x, size_t count) {
    float sum = 0;
    for (; count >= 4; count -= 4, word += 4, x += 4)
        sum += word[0] * x[0] + word[1] * x[1] + (word[2] * x[2] + word[3] * x[3]);
    for (; count > 0; --count) sum += *word++ * *x++;
    return sum;
}

static float of_blocks(const dtc_matrix *w, const uint8_t *indices, const float *table, const float *x) {
    const dtc_codebook *form = w->form;
    const size_t block = form->block, whole = w->cols / block;
    float sum = 0;
    if (form->bits == 8)
        for (size_t place = 0; place < whole; ++place, x += block) sum += dot(table + indices[place] * block, x, block);
    else
        for (size_t place = 0; place < whole; ++place, x += block)
            sum += dot(table + dtc_index_at(indices, form->bits, place) * block, x, block);
    const size_t left = w->cols - whole * block;
    return left ? sum + dot(table + dtc_index_at(indices, form->bits, whole) * block, x, left) : sum;
}

/* What each codeword adds for the numbers x of a block, of which `left` are left. */
static void fill_products(const dtc_codebook *form, const float *x, size_t left, float *products) {
    const size_t block = form->block, count = form->count, width = left < block ? left : block;
    if (width == 1)
        for (size_t i = 0; i < count; ++i) products[i] = form->codewords[i * block] * *x;
    else
        for (size_t i = 0; i < count; ++i) products[i] = dot(form->codewords + i * block, x, width);
}

/* sums[code] is what a code adds, of one index or, where `together` are four bits, of several. */
static void fill_sums(const dtc_codebook *form, size_t together, const float *x, size_t left, float *sums) {
    float products[16] = {0};
    if (together == 1) {
        fill_products(form, x, left, sums);
        return;
    }
    sums[0] = 0;
    for (size_t known = 1; known < 16; known <<= form->bits) {
        fill_products(form, x, left, products);
        /* The sums of fewer indices become those of one more; index 0 last, as all others begin with its sums. */
        for (size_t index = (size_t)1 << form->bits; index-- > 0;)
            for (size_t i = 0; i < known; ++i) sums[index * known + i] = sums[i] + products[index];
        const size_t width = left < form->block ? left : form->block;
        x += width;
        left -= width;
    }
}

static float look_up_indices(const uint8_t *indices, size_t bits, size_t count, size_t numbers, const float *sums) {
    float sum = 0;
    if (bits == 8)
        for (size_t i = 0; i < count; ++i, sums += numbers) sum += sums[indices[i]];
    else
        for (size_t i = 0; i < count; ++i, sums += numbers) sum += sums[dtc_index_at(indices, bits, i)];
    return sum;
}

/* By sums of all codes for the same numbers of x, which all rows look up: of four bits, or of one index that has more. */
static void add_by_sums(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *sums) {
    const dtc_codebook *form = w->form;
    const bool nibbles = form->bits <= 4;
    const size_t together = nibbles ? 4 / form->bits : 1, numbers = nibbles ? 16 : form->count;
    const size_t columns = together * form->block, codes = (w->cols + columns - 1) / columns;
    /* A whole byte of four bits is looked up: a code beyond the last adds nothing. */
    const size_t all = nibbles ? codes + codes % 2 : codes, most = DTC_CODEBOOK_SUMS / numbers;
    const size_t row_bytes = (size_t)(dtc_row_indices(w, 1) - dtc_row_indices(w, 0));
    for (size_t start = 0, some; start < all; start += some) {
        some = all - start < most ? all - start : most;
        for (size_t code = 0; code < some; ++code) {
            const size_t col = (start + code) * columns, left = col < w->cols ? w->cols - col : 0;
            fill_sums(form, together, x + w->cols - left, left, sums + code * numbers);
        }
        const uint8_t *row = dtc_row_indices(w, first) + start * together * form->bits / 8;
        for (size_t i = 0; i < count; ++i, row += row_bytes)
            y[i] += nibbles ? dtc_look_up_nibbles(row, some / 2, sums) : look_up_indices(row, form->bits, some, numbers, sums);
    }
}

enum { FEW_ROWS = 24 };

/* Whether rows are enough to pay for sums of all codes. */
static bool sums_pay(const dtc_codebook *form, size_t rows) {
    if (form->tables > 1 || form->count > DTC_CODEBOOK_SUMS) return false;
    if (form->bits <= 4) return rows >= FEW_ROWS;
    return form->block > 1 && rows > form->count;
}

void dtc_codebook_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_codebook *form = w->form;
    if (sums_pay(form, count)) {
        add_by_sums(w, first, count, x, y, scratch);
        return;
    }
    for (size_t i = 0; i < count; ++i) {
        const uint8_t *indices = dtc_row_indices(w, first + i);
        const float *table = dtc_table_of(w, first + i);
        y[i] += form->block == 1 ? of_numbers(w, indices, table, x) : of_blocks(w, indices, table, x);
    }
}
