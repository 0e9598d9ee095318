/* Sums of signs by look-ups in registers. Of four columns the sums of all signs are sixteen numbers of 16 bits, whose
 * low and high bytes are a register each; the signs of sixteen rows look them up by one instruction (swizzle) a byte.
 * After the published lookup products of few bits: T-MAC, arXiv 2407.00088. */
#include "simd128/lanes.h"
#include "simd128/tiles.h"

#include <math.h>
#include <string.h>

/* Quads whose sums are added up in 16 bits, and the largest such sum; what rounding may add to it fits beside. */
enum { RUN = 8, LARGEST = 32767 - RUN };

/* Bytes of the table of a quad: sixteen low ones, sixteen high ones. */
enum { TABLE = 32 };

static float magnitude(const float *x, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; ++i) sum += fabsf(x[i]);
    return sum;
}

/* The factor that makes numbers of a group whole ones: no run of it sums up to more than 16 bits hold. What is not
 * finite stays so: its factor is 0, and that of the result infinite or no number. */
static float factor_of(const float *x, size_t count) {
    float most = 0;
    for (size_t i = 0; i < count; i += RUN * DTC_QUAD) {
        const float sum = magnitude(x + i, count - i < RUN * DTC_QUAD ? count - i : RUN * DTC_QUAD);
        if (!(sum <= most)) most = sum;
    }
    return most > 0 || most != most ? LARGEST / most : 0;
}

/* The sums of all signs of four numbers: bit i of an entry's place is set where number i is added. */
static void fill_table(v128_t x, uint8_t *table) {
    const v128_t low = wasm_f32x4_add(
        wasm_v128_xor(wasm_i32x4_shuffle(x, x, 0, 0, 0, 0), wasm_i32x4_make(INT32_MIN, 0, INT32_MIN, 0)),
        wasm_v128_xor(wasm_i32x4_shuffle(x, x, 1, 1, 1, 1), wasm_i32x4_make(INT32_MIN, INT32_MIN, 0, 0)));
    const v128_t third = wasm_i32x4_shuffle(x, x, 2, 2, 2, 2), fourth = wasm_i32x4_shuffle(x, x, 3, 3, 3, 3);
    const v128_t both = wasm_f32x4_add(third, fourth), apart = wasm_f32x4_sub(fourth, third);
#define WHOLE(v) wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(v))
    const v128_t a = wasm_i16x8_narrow_i32x4(WHOLE(wasm_f32x4_sub(low, both)), WHOLE(wasm_f32x4_sub(low, apart)));
    const v128_t b = wasm_i16x8_narrow_i32x4(WHOLE(wasm_f32x4_add(low, apart)), WHOLE(wasm_f32x4_add(low, both)));
#undef WHOLE
    wasm_v128_store(table, wasm_i8x16_shuffle(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
    wasm_v128_store(table + 16, wasm_i8x16_shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
}

static void fill_tables(const float *x, size_t count, float factor, uint8_t *tables) {
    const v128_t times = wasm_f32x4_splat(factor);
    size_t i = 0;
    for (; i + DTC_QUAD <= count; i += DTC_QUAD, tables += TABLE)
        fill_table(wasm_f32x4_mul(wasm_v128_load(x + i), times), tables);
    if (i < count) {
        float last[DTC_QUAD] = {0};
        memcpy(last, x + i, (count - i) * sizeof *x);
        fill_table(wasm_f32x4_mul(wasm_v128_load(last), times), tables);
    }
}

/* Whole numbers of a tile's rows, eight vectors of four. */
typedef struct {
    v128_t rows[8];
} tile_sums;

/* Add a run's sums, of 16 bits, to those of 32. */
static inline void add_run(tile_sums *sums, size_t at, v128_t run) {
    sums->rows[at] = wasm_i32x4_add(sums->rows[at], wasm_i32x4_extend_low_i16x8(run));
    sums->rows[at + 1] = wasm_i32x4_add(sums->rows[at + 1], wasm_i32x4_extend_high_i16x8(run));
}

/* The sums of signed whole numbers that `quads` quads of codes stand for. */
static inline tile_sums look_up(const uint8_t *codes, size_t quads, const uint8_t *tables) {
    const v128_t zero = wasm_i32x4_splat(0), nibble = wasm_i8x16_splat(15);
    tile_sums sums = {{zero, zero, zero, zero, zero, zero, zero, zero}};
    while (quads > 0) {
        v128_t a = zero, b = zero, c = zero, d = zero;
        for (size_t left = quads < RUN ? quads : RUN; left > 0; --left, --quads, codes += DTC_QUAD_BYTES, tables += TABLE) {
            const v128_t code = wasm_v128_load(codes), low = wasm_v128_load(tables), high = wasm_v128_load(tables + 16);
            const v128_t first = wasm_v128_and(code, nibble), second = wasm_u8x16_shr(code, 4);
            const v128_t p = wasm_i8x16_swizzle(low, first), q = wasm_i8x16_swizzle(high, first);
            const v128_t r = wasm_i8x16_swizzle(low, second), s = wasm_i8x16_swizzle(high, second);
#define LOWER(u, v) wasm_i8x16_shuffle(u, v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define UPPER(u, v) wasm_i8x16_shuffle(u, v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
            a = wasm_i16x8_add(a, LOWER(p, q));
            b = wasm_i16x8_add(b, UPPER(p, q));
            c = wasm_i16x8_add(c, LOWER(r, s));
            d = wasm_i16x8_add(d, UPPER(r, s));
#undef LOWER
#undef UPPER
        }
        add_run(&sums, 0, a);
        add_run(&sums, 2, b);
        add_run(&sums, 4, c);
        add_run(&sums, 6, d);
    }
    return sums;
}

/* Numbers that belong to x: tables of all quads, and what makes each group's whole numbers those of x again. */
typedef struct {
    const uint8_t *tables;
    const float *back, *totals;
} prepared;

/* y[32] += the rows of a tile times x. */
static void add_tile(const dtc_matrix *w, size_t tile, const prepared *x, float *y) {
    const dtc_signs *form = w->form;
    const size_t quads = dtc_quads(w), groups = dtc_groups(w), span = form->group / DTC_QUAD;
    const uint8_t *codes = form->codes + tile * form->planes * quads * DTC_QUAD_BYTES;
    for (size_t group = 0; group < groups; ++group) {
        const size_t start = group * span, count = quads - start < span ? quads - start : span;
        const float *alphas = form->alphas + (tile * groups + group) * form->planes * DTC_TILE;
        for (size_t plane = 0; plane < form->planes; ++plane, alphas += DTC_TILE) {
            const tile_sums sums =
                look_up(codes + (plane * quads + start) * DTC_QUAD_BYTES, count, x->tables + start * TABLE);
            const v128_t back = wasm_f32x4_splat(x->back[group]);
            for (size_t i = 0; i < 8; ++i) {
                const v128_t whole = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sums.rows[i]), back);
                const v128_t before = wasm_v128_load(y + 4 * i);
                wasm_v128_store(y + 4 * i, dtc_add_product(before, wasm_v128_load(alphas + 4 * i), whole));
            }
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
    const size_t quads = dtc_quads(w), groups = dtc_groups(w), end = first + count;
    uint8_t *tables = (uint8_t *)scratch;
    float *back = scratch + quads * (TABLE / sizeof(float)), *totals = back + groups;
    for (size_t group = 0; group < groups; ++group) {
        const size_t start = group * form->group, left = w->cols - start;
        const size_t span = left < form->group ? left : form->group;
        const float factor = factor_of(x + start, span);
        back[group] = factor == 0 && isfinite(total(x + start, span)) ? 0 : 1 / factor;
        if (form->offsets) totals[group] = total(x + start, span);
        fill_tables(x + start, span, factor, tables + start / DTC_QUAD * TABLE);
    }
    const prepared taken = {tables, back, totals};
    for (size_t row = first; row < end;) {
        const size_t tile = row / DTC_TILE, lane = row % DTC_TILE, left = DTC_TILE - lane;
        const size_t rows = end - row < left ? end - row : left;
        if (rows == DTC_TILE) {
            add_tile(w, tile, &taken, y);
        } else {
            float part[DTC_TILE] = {0};
            add_tile(w, tile, &taken, part);
            for (size_t i = 0; i < rows; ++i) y[i] += part[lane + i];
        }
        row += rows;
        y += rows;
    }
}
