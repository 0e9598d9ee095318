/* At most 16 numbers by look-ups: a table holds what each of them adds, of one column or of all pairs or fours of them. */
#include "simd128/lookups.h"

#include <math.h>

struct dtc_prepared {
    const uint8_t *tables;
    float back;
};

/* What `columns` numbers of x add for each of sixteen codes. */
static void fill_table(const dtc_levels *form, const float *values, const float *x, size_t columns, uint8_t *table) {
    float sums[16] = {0};
    const unsigned mask = (1u << form->bits) - 1;
    for (size_t col = 0; col < columns; ++col)
        for (unsigned code = 0; code < 16; ++code) sums[code] += values[code >> col * form->bits & mask] * x[col];
    dtc_write_table(wasm_v128_load(sums), wasm_v128_load(sums + 4), wasm_v128_load(sums + 8), wasm_v128_load(sums + 12),
                    table);
}

static void add_tile(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y) {
    const dtc_levels *form = w->form;
    const size_t codes = dtc_codes(w, 4 / form->bits);
    const dtc_tile_sums sums = dtc_look_up(form->codes + tile * codes * DTC_CODE_BYTES, codes, x->tables);
    dtc_add_sums(&sums, x->back, NULL, y);
}

/* scratch: 8 floats a code for its table. */
void dtc_levels_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_levels *form = w->form;
    const size_t columns = 4 / form->bits;
    const float factor = dtc_factor(x, w->cols, columns);
    float values[16], largest = 0;
    for (size_t i = 0; i < 16; ++i) largest = fmaxf(largest, fabsf(form->values[i]));
    if (largest == 0) return;
    for (size_t i = 0; i < 16; ++i) values[i] = form->values[i] / largest * factor;
    uint8_t *tables = (uint8_t *)scratch;
    for (size_t col = 0, code = 0; col < w->cols; col += columns, ++code)
        fill_table(form, values, x + col, w->cols - col < columns ? w->cols - col : columns, tables + code * DTC_TABLE);
    const dtc_prepared taken = {tables, largest * dtc_factor_back(factor, x, w->cols)};
    dtc_add_tiles(w, first, count, add_tile, &taken, y);
}

void dtc_levels_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_levels *form = w->form;
    const size_t columns = 4 / form->bits, tile = row / DTC_TILE;
    const uint8_t *codes = form->codes + tile * dtc_codes(w, columns) * DTC_CODE_BYTES;
    const unsigned mask = (1u << form->bits) - 1;
    for (size_t col = 0; col < w->cols; ++col) {
        const unsigned code = dtc_code(codes + col / columns * DTC_CODE_BYTES, row % DTC_TILE);
        y[col] = form->values[code >> col % columns * form->bits & mask];
    }
}
