/* At most 16 numbers by look-ups: a table holds what each of them adds, of one column or of all pairs or fours of them. */
#include "simd128/lookups.h"

#include <math.h>

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
static inline void fill_table(const code_numbers *numbers, const float *x, size_t columns, size_t bytes, uint8_t *table) {
    v128_t sums[4] = {wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
    for (size_t col = 0; col < columns; ++col)
        for (size_t i = 0; i < 4; ++i)
            sums[i] = dtc_add_product(sums[i], wasm_v128_load(numbers->of[col] + 4 * i), wasm_v128_load32_splat(x + col));
    dtc_write_table(sums, bytes, table);
}

static inline void add_tile(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y, size_t bytes) {
    const dtc_levels *form = w->form;
    const size_t codes = dtc_codes(w, 4 / form->bits);
    const dtc_tile_sums sums = dtc_look_up(form->codes + tile * codes * DTC_CODE_BYTES, 0, codes, &x->tables, bytes);
    for (size_t i = 0; i < 8; ++i, y += 4) wasm_v128_store(y, wasm_f32x4_add(wasm_v128_load(y), sums.rows[i]));
}

static void add_tile_of_2(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y) { add_tile(w, tile, x, y, 2); }
static void add_tile_of_3(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y) { add_tile(w, tile, x, y, 3); }

static float largest_of(const float *values) {
    float largest = 0;
    for (size_t i = 0; i < 16; ++i) largest = fmaxf(largest, fabsf(values[i]));
    return largest;
}

/* Write the tables of all codes, and what brings the sums of each span back. */
static inline void fill_tables(const dtc_matrix *w, const float *x, float largest, size_t bytes, uint8_t *tables, float *back) {
    const dtc_levels *form = w->form;
    const size_t columns = 4 / form->bits, span = dtc_span(dtc_codes(w, columns)) * columns;
    code_numbers numbers;
    for (size_t start = 0; start < w->cols; start += span) {
        const size_t end = w->cols - start < span ? w->cols : start + span;
        const float most = dtc_largest(x + start, end - start, columns), highest = (float)DTC_LARGEST(bytes);
        *back++ = most * (largest / highest);
        find_numbers(form, largest, most == 0 ? 0 : highest / most, &numbers);
        for (size_t col = start; col < end; col += columns, tables += DTC_TABLE(bytes))
            fill_table(&numbers, x + col, end - col < columns ? end - col : columns, bytes, tables);
    }
}

/* scratch: of a code 16 bytes for each of a number's, of a span a float. */
void dtc_levels_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_levels *form = w->form;
    const size_t codes = dtc_codes(w, 4 / form->bits);
    const float largest = largest_of(form->values);
    if (largest == 0) return;
    uint8_t *const tables = (uint8_t *)scratch;
    float *const back = scratch + codes * DTC_TABLE(form->bytes) / sizeof(float);
    const dtc_prepared taken = {{tables, back, dtc_span(codes)}};
    if (form->bytes == 2) {
        fill_tables(w, x, largest, 2, tables, back);
        dtc_add_tiles(w, first, count, add_tile_of_2, &taken, y);
    } else {
        fill_tables(w, x, largest, 3, tables, back);
        dtc_add_tiles(w, first, count, add_tile_of_3, &taken, y);
    }
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

void dtc_levels_products(const dtc_matrix *w, size_t count, const float *x, float *y, float *scratch) {
    dtc_decoded_products(w, dtc_levels_row, count, x, y, scratch);
}
