/* Codewords that indices lead to: four numbers loaded into lanes, or vectors of a block's. */
#include "kernels/codebook.h"
#include "simd128/lanes.h"
#include "simd128/tiles.h"

static float of_bytes(const uint8_t *indices, const float *table, const float *x, size_t count) {
    v128_t sums = wasm_f32x4_splat(0);
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        sums = dtc_add_product(sums, dtc_four_of(table, indices + i), wasm_v128_load(x + i));
    float sum = dtc_total(sums);
    for (; i < count; ++i) sum += table[indices[i]] * x[i];
    return sum;
}

/* Of 4 bits: sixteen at a time, spread to bytes. */
static float of_nibbles(const uint8_t *indices, const float *table, const float *x, size_t count) {
    uint8_t spread[16];
    float sum = 0;
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const v128_t packed = wasm_v128_load64_zero(indices + i / 2);
        const v128_t low = wasm_v128_and(packed, wasm_i8x16_splat(15)), high = wasm_u8x16_shr(packed, 4);
        wasm_v128_store(spread, wasm_i8x16_shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
        sum += of_bytes(spread, table, x + i, 16);
    }
    for (; i < count; ++i) sum += table[dtc_index_at(indices, 4, i)] * x[i];
    return sum;
}

static float of_numbers(const uint8_t *indices, size_t bits, const float *table, const float *x, size_t count) {
    float even = 0, odd = 0;
    size_t i = 0;
    for (; i + 2 <= count; i += 2) {
        even += table[dtc_index_at(indices, bits, i)] * x[i];
        odd += table[dtc_index_at(indices, bits, i + 1)] * x[i + 1];
    }
    if (i < count) even += table[dtc_index_at(indices, bits, i)] * x[i];
    return even + odd;
}

static float of_blocks(const dtc_codebook *form, const uint8_t *indices, const float *table, const float *x, size_t cols) {
    v128_t sums = wasm_f32x4_splat(0);
    float sum = 0;
    for (size_t place = 0, col = 0; col < cols; ++place, col += form->block) {
        const float *word = table + dtc_index_at(indices, form->bits, place) * form->block;
        const size_t count = cols - col < form->block ? cols - col : form->block;
        size_t i = 0;
        for (; i + 4 <= count; i += 4)
            sums = dtc_add_product(sums, wasm_v128_load(word + i), wasm_v128_load(x + col + i));
        for (; i < count; ++i) sum += word[i] * x[col + i];
    }
    return sum + dtc_total(sums);
}

static float of_row(const dtc_matrix *w, size_t row, const float *x) {
    const dtc_codebook *form = w->form;
    const uint8_t *indices = dtc_row_indices(w, row);
    const float *table = dtc_table_of(w, row);
    if (form->block > 1) return of_blocks(form, indices, table, x, w->cols);
    if (form->bits == 8) return of_bytes(indices, table, x, w->cols);
    if (form->bits == 4) return of_nibbles(indices, table, x, w->cols);
    return of_numbers(indices, form->bits, table, x, w->cols);
}

void dtc_codebook_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    (void)scratch;
    for (size_t i = 0; i < count; ++i) y[i] += of_row(w, first + i, x);
}
