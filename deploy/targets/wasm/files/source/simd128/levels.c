/* At most 16 numbers by look-ups: a table holds what each of them adds, of one column or of all pairs or fours of them. */
#include "simd128/lookups.h"

#include <math.h>
#include <stdbool.h>

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

/* Each byte of all sixteen numbers, for looking up. */
static void split_values(const float *values, v128_t *table) {
    uint8_t bytes[4][16];
    for (size_t i = 0; i < 16; ++i)
        for (size_t byte = 0; byte < 4; ++byte) bytes[byte][i] = ((const uint8_t *)(values + i))[byte];
    for (size_t byte = 0; byte < 4; ++byte) table[byte] = wasm_v128_load(bytes[byte]);
}

/* Write the numbers of sixteen rows, to which places lead, into four strips. */
static inline void write_column(const v128_t *table, v128_t places, float *strip, size_t of_strip) {
    const v128_t a = wasm_i8x16_swizzle(table[0], places), b = wasm_i8x16_swizzle(table[1], places);
    const v128_t c = wasm_i8x16_swizzle(table[2], places), d = wasm_i8x16_swizzle(table[3], places);
    const v128_t low = wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const v128_t high = wasm_i8x16_shuffle(c, d, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const v128_t low2 = wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const v128_t high2 = wasm_i8x16_shuffle(c, d, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    wasm_v128_store(strip, wasm_i16x8_shuffle(low, high, 0, 8, 1, 9, 2, 10, 3, 11));
    wasm_v128_store(strip + of_strip, wasm_i16x8_shuffle(low, high, 4, 12, 5, 13, 6, 14, 7, 15));
    wasm_v128_store(strip + 2 * of_strip, wasm_i16x8_shuffle(low2, high2, 0, 8, 1, 9, 2, 10, 3, 11));
    wasm_v128_store(strip + 3 * of_strip, wasm_i16x8_shuffle(low2, high2, 4, 12, 5, 13, 6, 14, 7, 15));
}

/* Write the four strips of a half of a tile. */
static inline void fill_half(const dtc_matrix *w, const uint8_t *codes, bool upper, size_t bits, const v128_t *table, float *strip) {
    const v128_t nibble = wasm_i8x16_splat(15), mask = wasm_i8x16_splat((int8_t)((1 << bits) - 1));
    const size_t of_strip = DTC_ROWS * w->cols, columns = 4 / bits;
    for (size_t col = 0; col < w->cols; codes += DTC_CODE_BYTES) {
        v128_t code = wasm_v128_load(codes);
        code = upper ? wasm_u8x16_shr(code, 4) : wasm_v128_and(code, nibble);
        code = wasm_i8x16_shuffle(code, code, 0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
        for (size_t i = 0; i < columns && col < w->cols; ++i, ++col, strip += DTC_ROWS) {
            write_column(table, columns == 1 ? code : wasm_v128_and(code, mask), strip, of_strip);
            if (columns > 1) code = wasm_u8x16_shr(code, (uint32_t)bits);
        }
    }
}

static void fill_strips(const dtc_matrix *w, size_t row, const v128_t *table, float *strips) {
    const dtc_levels *form = w->form;
    const uint8_t *codes = form->codes + row / DTC_TILE * dtc_codes(w, 4 / form->bits) * DTC_CODE_BYTES;
    const bool upper = row % DTC_TILE != 0;
    if (form->bits == 4)
        fill_half(w, codes, upper, 4, table, strips);
    else if (form->bits == 2)
        fill_half(w, codes, upper, 2, table, strips);
    else
        fill_half(w, codes, upper, 1, table, strips);
}

enum { HALF = DTC_TILE / 2 };

void dtc_levels_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    v128_t table[4];
    if (first % HALF != 0) {
        dtc_decoded_products(w, dtc_levels_row, first, count, x, scratch);
        return;
    }
    split_values(((const dtc_levels *)w->form)->values, table);
    for (size_t at = 0; at < count; at += HALF) {
        fill_strips(w, first + at, table, scratch);
        for (size_t row = at; row < count && row < at + HALF; row += DTC_ROWS)
            dtc_add_strip(w->cols, scratch + (row - at) * w->cols, row, count - row < DTC_ROWS ? count - row : DTC_ROWS, x);
    }
}
