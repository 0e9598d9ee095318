/* At most 16 numbers by look-ups: a table holds what each of them adds, of one column or of all pairs or fours of them. */
#include "simd128/lookups.h"

#include <math.h>

/* Of a whole number in the tables: most values may be far smaller than the largest. */
enum { BYTES = 3 };

struct dtc_prepared {
    dtc_tables tables;
};

/* Numbers that each of sixteen codes stands for, of one column or several. */
typedef struct {
    float of[4][16];
} code_numbers;

static void find_numbers(const dtc_levels *form, float largest, float factor, code_numbers *numbers) {
    const unsigned mask = (1u << form->bits) - 1;
    for (size_t col = 0; col < 4 / form->bits; ++col)
        for (unsigned code = 0; code < 16; ++code)
            numbers->of[col][code] = form->values[code >> col * form->bits & mask] / largest * factor;
}

/* What `columns` numbers of x add for each of sixteen codes. */
static void fill_table(const code_numbers *numbers, const float *x, size_t columns, uint8_t *table) {
    v128_t sums[4] = {wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
    for (size_t col = 0; col < columns; ++col)
        for (size_t i = 0; i < 4; ++i)
            sums[i] = dtc_add_product(sums[i], wasm_v128_load(numbers->of[col] + 4 * i), wasm_v128_load32_splat(x + col));
    dtc_write_table(sums, BYTES, table);
}

static void add_tile(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y) {
    const dtc_levels *form = w->form;
    const size_t codes = dtc_codes(w, 4 / form->bits);
    const dtc_tile_sums sums = dtc_look_up(form->codes + tile * codes * DTC_CODE_BYTES, 0, codes, &x->tables, BYTES);
    for (size_t i = 0; i < 8; ++i, y += 4) wasm_v128_store(y, wasm_f32x4_add(wasm_v128_load(y), sums.rows[i]));
}

static float largest_of(const float *values) {
    float largest = 0;
    for (size_t i = 0; i < 16; ++i) largest = fmaxf(largest, fabsf(values[i]));
    return largest;
}

/* scratch: 12 floats a code for its table, 1 a span. */
void dtc_levels_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_levels *form = w->form;
    const size_t columns = 4 / form->bits, codes = dtc_codes(w, columns), span = dtc_span(codes) * columns;
    const float largest = largest_of(form->values);
    if (largest == 0) return;
    uint8_t *tables = (uint8_t *)scratch;
    float *back = scratch + codes * (DTC_TABLE(BYTES) / sizeof(float));
    code_numbers numbers;
    for (size_t start = 0, turn = 0; start < w->cols; start += span, ++turn) {
        const size_t end = w->cols - start < span ? w->cols : start + span;
        const float most = dtc_largest(x + start, end - start, columns);
        back[turn] = most * (largest / DTC_LARGEST(BYTES));
        find_numbers(form, largest, most == 0 ? 0 : DTC_LARGEST(BYTES) / most, &numbers);
        for (size_t col = start; col < end; col += columns)
            fill_table(&numbers, x + col, end - col < columns ? end - col : columns, tables + col / columns * DTC_TABLE(BYTES));
    }
    const dtc_prepared taken = {{tables, back, dtc_span(codes)}};
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
