/* Sums of signs by look-ups of four columns at once. */
#include "simd128/lookups.h"

#include <string.h>

/* Of a whole number in the tables. */
enum { BYTES = 2 };

struct dtc_prepared {
    dtc_tables tables;
    const float *totals; /* of groups */
};

/* The sums of all signs of four numbers: bit i of a code is set where number i is added. */
static void fill_table(v128_t x, uint8_t *table) {
    const v128_t low = wasm_f32x4_add(
        wasm_v128_xor(wasm_i32x4_shuffle(x, x, 0, 0, 0, 0), wasm_i32x4_make(INT32_MIN, 0, INT32_MIN, 0)),
        wasm_v128_xor(wasm_i32x4_shuffle(x, x, 1, 1, 1, 1), wasm_i32x4_make(INT32_MIN, INT32_MIN, 0, 0)));
    const v128_t third = wasm_i32x4_shuffle(x, x, 2, 2, 2, 2), fourth = wasm_i32x4_shuffle(x, x, 3, 3, 3, 3);
    const v128_t both = wasm_f32x4_add(third, fourth), apart = wasm_f32x4_sub(fourth, third);
    const v128_t sums[4] = {wasm_f32x4_sub(low, both), wasm_f32x4_sub(low, apart), wasm_f32x4_add(low, apart),
                            wasm_f32x4_add(low, both)};
    dtc_write_table(sums, BYTES, table);
}

static void fill_tables(const float *x, size_t count, uint8_t *tables, float *back) {
    const float largest = dtc_largest(x, count, DTC_QUAD);
    const v128_t times = wasm_f32x4_splat(largest == 0 ? 0 : DTC_LARGEST(BYTES) / largest);
    *back = largest / DTC_LARGEST(BYTES);
    size_t i = 0;
    for (; i + DTC_QUAD <= count; i += DTC_QUAD, tables += DTC_TABLE(BYTES))
        fill_table(wasm_f32x4_mul(wasm_v128_load(x + i), times), tables);
    if (i < count) {
        float last[DTC_QUAD] = {0};
        memcpy(last, x + i, (count - i) * sizeof *x);
        fill_table(wasm_f32x4_mul(wasm_v128_load(last), times), tables);
    }
}

/* The numbers of a tile's rows, of one of two arrays; those of 16 bits as dtc_half makes them wide. */
static const float *row_numbers(const float *numbers, const uint16_t *halves, size_t first, float *wide) {
    if (!halves) return numbers + first;
    const v128_t size = wasm_i32x4_splat(0x7FFF), sign = wasm_i32x4_splat(0x8000), scale = wasm_f32x4_splat(0x1p112f);
    for (size_t i = 0; i < DTC_TILE; i += 4) {
        const v128_t half = wasm_u32x4_load16x4(halves + first + i);
        const v128_t value = wasm_f32x4_mul(wasm_i32x4_shl(wasm_v128_and(half, size), 13), scale);
        wasm_v128_store(wide + i, wasm_v128_or(value, wasm_i32x4_shl(wasm_v128_and(half, sign), 16)));
    }
    return wide;
}

static void add_tile(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y) {
    const dtc_signs *form = w->form;
    const size_t quads = dtc_codes(w, DTC_QUAD), span = form->group / DTC_QUAD, groups = (quads + span - 1) / span;
    const uint8_t *codes = form->codes + tile * form->planes * quads * DTC_CODE_BYTES;
    float wide[DTC_TILE];
    for (size_t group = 0; group < groups; ++group) {
        const size_t start = group * span, count = quads - start < span ? quads - start : span;
        const size_t place = (tile * groups + group) * DTC_TILE;
        for (size_t plane = 0; plane < form->planes; ++plane) {
            const dtc_tile_sums sums = dtc_look_up(codes + plane * quads * DTC_CODE_BYTES, start, count, &x->tables, BYTES);
            const size_t alphas = place * form->planes + plane * DTC_TILE;
            dtc_add_scaled(&sums, row_numbers(form->alphas, form->half_alphas, alphas, wide), y);
        }
        if (!form->offsets && !form->half_offsets) continue;
        const float *offsets = row_numbers(form->offsets, form->half_offsets, place, wide);
        for (size_t i = 0; i < DTC_TILE; ++i) y[i] += offsets[i] * x->totals[group];
    }
}

static float total(const float *x, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; ++i) sum += x[i];
    return sum;
}

/* Groups are whole spans. scratch: 8 floats a quad for its table, 1 a span, 1 a group. */
void dtc_signs_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_signs *form = w->form;
    const size_t cols = w->cols, quads = dtc_codes(w, DTC_QUAD), of_group = form->group / DTC_QUAD;
    const size_t span = of_group < dtc_span(quads) ? of_group : dtc_span(quads), columns = span * DTC_QUAD;
    uint8_t *tables = (uint8_t *)scratch;
    float *back = scratch + quads * (DTC_TABLE(BYTES) / sizeof(float)), *totals = back + (quads + span - 1) / span;
    for (size_t start = 0; start < cols; start += columns)
        fill_tables(x + start, cols - start < columns ? cols - start : columns, tables + start / DTC_QUAD * DTC_TABLE(BYTES),
                    back + start / columns);
    for (size_t start = 0; (form->offsets || form->half_offsets) && start < cols; start += form->group)
        totals[start / form->group] = total(x + start, cols - start < form->group ? cols - start : form->group);
    const dtc_prepared taken = {{tables, back, span}, totals};
    dtc_add_tiles(w, first, count, add_tile, &taken, y);
}
