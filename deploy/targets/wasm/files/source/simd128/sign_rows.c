#include "kernels/half.h"
#include "simd128/lanes.h"
#include "simd128/tiles.h"

#include <stdbool.h>
#include <string.h>

/* Beyond so many planes a weight is stored otherwise. */
enum { MOST_PLANES = 4 };

/* The signs of four numbers by their code: the bit of a sign is set where that of the code is not. */
static v128_t signs_of(unsigned code) {
    const v128_t bits = wasm_v128_and(wasm_i32x4_splat((int)code), wasm_i32x4_make(1, 2, 4, 8));
    return wasm_v128_and(wasm_i32x4_eq(bits, wasm_i32x4_splat(0)), wasm_i32x4_splat(INT32_MIN));
}

/* The numbers of four columns of a row. */
static v128_t four_numbers(const dtc_signs *form, const uint8_t *codes, size_t of_plane, const float *alphas, size_t lane,
                           v128_t sum) {
    for (size_t plane = 0; plane < form->planes; ++plane, codes += of_plane)
        sum = wasm_f32x4_add(sum, wasm_v128_xor(wasm_f32x4_splat(alphas[plane]), signs_of(dtc_code(codes, lane))));
    return sum;
}

/* Write the numbers of `count` columns of a row, of one group. */
static void write_group(const dtc_signs *form, const uint8_t *codes, size_t of_plane, size_t place, size_t lane, size_t count,
                        float *y) {
    const size_t row = place * DTC_TILE + lane;
    const float offset = form->offsets || form->half_offsets ? dtc_number(form->offsets, form->half_offsets, row) : 0;
    float alphas[MOST_PLANES];
    for (size_t plane = 0; plane < form->planes; ++plane)
        alphas[plane] = dtc_number(form->alphas, form->half_alphas, (place * form->planes + plane) * DTC_TILE + lane);
    size_t col = 0;
    for (; col + DTC_QUAD <= count; col += DTC_QUAD, codes += DTC_CODE_BYTES)
        wasm_v128_store(y + col, four_numbers(form, codes, of_plane, alphas, lane, wasm_f32x4_splat(offset)));
    if (col < count) {
        float last[DTC_QUAD];
        wasm_v128_store(last, four_numbers(form, codes, of_plane, alphas, lane, wasm_f32x4_splat(offset)));
        memcpy(y + col, last, (count - col) * sizeof *y);
    }
}

void dtc_signs_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_signs *form = w->form;
    const size_t tile = row / DTC_TILE, lane = row % DTC_TILE, quads = dtc_codes(w, DTC_QUAD);
    const size_t groups = (w->cols + form->group - 1) / form->group, of_plane = quads * DTC_CODE_BYTES;
    const uint8_t *codes = form->codes + tile * form->planes * of_plane;
    for (size_t group = 0; group < groups; ++group) {
        const size_t start = group * form->group, count = w->cols - start < form->group ? w->cols - start : form->group;
        write_group(form, codes + start / DTC_QUAD * DTC_CODE_BYTES, of_plane, tile * groups + group, lane, count, y + start);
    }
}

static v128_t four_wide(const float *numbers, const uint16_t *halves, size_t first) {
    return wasm_f32x4_make(dtc_number(numbers, halves, first), dtc_number(numbers, halves, first + 1),
                           dtc_number(numbers, halves, first + 2), dtc_number(numbers, halves, first + 3));
}

/* Coefficients of a strip of rows for a group of columns. */
typedef struct {
    v128_t alphas[MOST_PLANES], offset;
} coefficients;

static coefficients find(const dtc_signs *form, size_t place, size_t row) {
    coefficients found = {.offset = wasm_f32x4_splat(0)};
    for (size_t plane = 0; plane < form->planes; ++plane)
        found.alphas[plane] = four_wide(form->alphas, form->half_alphas, (place * form->planes + plane) * DTC_TILE + row);
    if (form->offsets || form->half_offsets)
        found.offset = four_wide(form->offsets, form->half_offsets, place * DTC_TILE + row);
    return found;
}

/* Write four columns: of each byte of codes that `order` brings to a lane, the upper half or the lower one. */
static inline void write_quad(const uint8_t *codes, size_t of_plane, size_t planes, v128_t order, bool upper,
                              const coefficients *given, v128_t *columns) {
    const v128_t sign = wasm_i32x4_splat(INT32_MIN);
    for (size_t i = 0; i < DTC_QUAD; ++i) columns[i] = given->offset;
    for (size_t plane = 0; plane < planes; ++plane, codes += of_plane) {
        const v128_t bytes = wasm_i8x16_swizzle(wasm_v128_not(wasm_v128_load(codes)), order);
        const v128_t bits = upper ? bytes : wasm_i32x4_shl(bytes, 4);
        const v128_t minus[DTC_QUAD] = {wasm_i32x4_shl(bits, 3), wasm_i32x4_shl(bits, 2), wasm_i32x4_shl(bits, 1), bits};
        for (size_t i = 0; i < DTC_QUAD; ++i)
            columns[i] = wasm_f32x4_add(columns[i], wasm_v128_xor(given->alphas[plane], wasm_v128_and(minus[i], sign)));
    }
}

/* Write a strip of a tile. `planes` and `upper` are constant where it is called. */
static inline void fill_strip(const dtc_matrix *w, size_t tile, size_t row, size_t planes, bool upper, float *strip) {
    const dtc_signs *form = w->form;
    const size_t quads = dtc_codes(w, DTC_QUAD), of_plane = quads * DTC_CODE_BYTES, span = form->group / DTC_QUAD;
    const size_t groups = (w->cols + form->group - 1) / form->group;
    const uint8_t *codes = form->codes + tile * planes * of_plane;
    const v128_t order = dtc_strip_bytes(row / DTC_ROWS);
    v128_t columns[DTC_QUAD];
    for (size_t group = 0; group < groups; ++group) {
        const coefficients given = find(form, tile * groups + group, row);
        const size_t end = (group + 1) * span < quads ? (group + 1) * span : quads;
        for (size_t quad = group * span; quad < end; ++quad, codes += DTC_CODE_BYTES, strip += DTC_QUAD * DTC_ROWS) {
            write_quad(codes, of_plane, planes, order, upper, &given, columns);
            /* Columns beyond the last are written too: there is room behind a strip. */
            for (size_t i = 0; i < DTC_QUAD; ++i) wasm_v128_store(strip + DTC_ROWS * i, columns[i]);
        }
    }
}

static inline void fill_half(const dtc_matrix *w, size_t tile, size_t row, bool upper, float *strip) {
    switch (((const dtc_signs *)w->form)->planes) {
        case 1: fill_strip(w, tile, row, 1, upper, strip); break;
        case 2: fill_strip(w, tile, row, 2, upper, strip); break;
        case 3: fill_strip(w, tile, row, 3, upper, strip); break;
        default: fill_strip(w, tile, row, 4, upper, strip);
    }
}

void dtc_signs_decoded_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    if (first % DTC_ROWS != 0) {
        dtc_decoded_products(w, dtc_signs_row, first, count, x, scratch);
        return;
    }
    for (size_t at = 0; at < count; at += DTC_ROWS) {
        const size_t rows = count - at < DTC_ROWS ? count - at : DTC_ROWS;
        const size_t tile = (first + at) / DTC_TILE, row = (first + at) % DTC_TILE;
        if (row < DTC_TILE / 2)
            fill_half(w, tile, row, false, scratch);
        else
            fill_half(w, tile, row, true, scratch);
        dtc_add_strip(w->cols, scratch, at, rows, x);
    }
}
