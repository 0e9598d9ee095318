/* Sums of signs by look-ups of four columns at once. */
#include "simd128/lookups.h"

#include <string.h>

/* What belongs to x: tables of all quads, and of each group what makes its whole numbers those of x, and its total. */
struct dtc_prepared {
    const uint8_t *tables;
    const float *back, *totals;
};

/* The sums of all signs of four numbers: bit i of a code is set where number i is added. */
static void fill_table(v128_t x, uint8_t *table) {
    const v128_t low = wasm_f32x4_add(
        wasm_v128_xor(wasm_i32x4_shuffle(x, x, 0, 0, 0, 0), wasm_i32x4_make(INT32_MIN, 0, INT32_MIN, 0)),
        wasm_v128_xor(wasm_i32x4_shuffle(x, x, 1, 1, 1, 1), wasm_i32x4_make(INT32_MIN, INT32_MIN, 0, 0)));
    const v128_t third = wasm_i32x4_shuffle(x, x, 2, 2, 2, 2), fourth = wasm_i32x4_shuffle(x, x, 3, 3, 3, 3);
    const v128_t both = wasm_f32x4_add(third, fourth), apart = wasm_f32x4_sub(fourth, third);
    dtc_write_table(wasm_f32x4_sub(low, both), wasm_f32x4_sub(low, apart), wasm_f32x4_add(low, apart),
                    wasm_f32x4_add(low, both), table);
}

static void fill_tables(const float *x, size_t count, float factor, uint8_t *tables) {
    const v128_t times = wasm_f32x4_splat(factor);
    size_t i = 0;
    for (; i + DTC_QUAD <= count; i += DTC_QUAD, tables += DTC_TABLE)
        fill_table(wasm_f32x4_mul(wasm_v128_load(x + i), times), tables);
    if (i < count) {
        float last[DTC_QUAD] = {0};
        memcpy(last, x + i, (count - i) * sizeof *x);
        fill_table(wasm_f32x4_mul(wasm_v128_load(last), times), tables);
    }
}

static void add_tile(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y) {
    const dtc_signs *form = w->form;
    const size_t quads = dtc_codes(w, DTC_QUAD), span = form->group / DTC_QUAD, groups = (quads + span - 1) / span;
    const uint8_t *codes = form->codes + tile * form->planes * quads * DTC_CODE_BYTES;
    for (size_t group = 0; group < groups; ++group) {
        const size_t start = group * span, count = quads - start < span ? quads - start : span;
        const float *alphas = form->alphas + (tile * groups + group) * form->planes * DTC_TILE;
        for (size_t plane = 0; plane < form->planes; ++plane, alphas += DTC_TILE) {
            const uint8_t *of_plane = codes + (plane * quads + start) * DTC_CODE_BYTES;
            const dtc_tile_sums sums = dtc_look_up(of_plane, count, x->tables + start * DTC_TABLE);
            dtc_add_sums(&sums, x->back[group], alphas, y);
        }
        if (!form->offsets) continue;
        const float *offsets = form->offsets + (tile * groups + group) * DTC_TILE;
        for (size_t i = 0; i < DTC_TILE; ++i) y[i] += offsets[i] * x->totals[group];
    }
}

static float total(const float *x, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; ++i) sum += x[i];
    return sum;
}

/* scratch: 8 floats a quad for its table, and 2 a group. */
void dtc_signs_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_signs *form = w->form;
    const size_t groups = (w->cols + form->group - 1) / form->group;
    uint8_t *tables = (uint8_t *)scratch;
    float *back = scratch + dtc_codes(w, DTC_QUAD) * (DTC_TABLE / sizeof(float)), *totals = back + groups;
    for (size_t group = 0; group < groups; ++group) {
        const size_t start = group * form->group, left = w->cols - start;
        const size_t span = left < form->group ? left : form->group;
        const float factor = dtc_factor(x + start, span, DTC_QUAD);
        back[group] = dtc_factor_back(factor, x + start, span);
        totals[group] = form->offsets ? total(x + start, span) : 0;
        fill_tables(x + start, span, factor, tables + start / DTC_QUAD * DTC_TABLE);
    }
    const dtc_prepared taken = {tables, back, totals};
    dtc_add_tiles(w, first, count, add_tile, &taken, y);
}
