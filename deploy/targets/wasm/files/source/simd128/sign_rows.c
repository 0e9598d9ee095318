#include "kernels/half.h"
#include "simd128/tiles.h"

#include <string.h>
#include <wasm_simd128.h>

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

void dtc_signs_products(const dtc_matrix *w, size_t count, const float *x, float *y, float *scratch) {
    dtc_decoded_products(w, dtc_signs_row, count, x, y, scratch);
}
