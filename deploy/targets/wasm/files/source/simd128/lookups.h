/* Look-ups in registers. What a few columns add for each of sixteen codes are sixteen numbers of 16 bits, whose low and
 * high bytes are a register each; the codes of sixteen rows look them up by one instruction (swizzle) a byte.
 * After the published look-up products of few bits: T-MAC, arXiv 2407.00088. */
#ifndef DTC_LOOKUPS_H
#define DTC_LOOKUPS_H

#include "simd128/lanes.h"
#include "simd128/tiles.h"

/* Codes whose numbers are added up in 16 bits, a run; the largest such sum, what rounding may add to it fitting beside; and
 * the most codes that have a factor in common, a span: their sums are of 32 bits. */
enum { DTC_RUN = 4, DTC_LARGEST = 32767 - DTC_RUN, DTC_SPAN = 32 };

/* Bytes of a table: sixteen low ones, sixteen high ones. */
enum { DTC_TABLE = 32 };

/* The factor that makes the numbers of a span whole ones, none larger than those of its `columns` numbers a code: no run
 * sums up to more than 16 bits hold. `back` makes whole numbers those of x again. What is not finite stays so, as `back`
 * is infinite or no number then. */
float dtc_factor(const float *x, size_t count, size_t columns, float *back);

/* y[i] += row (first + i) times x, `add` doing a whole tile: y[32] += its rows. */
typedef struct dtc_prepared dtc_prepared;
typedef void dtc_tile_adder(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y);
void dtc_add_tiles(const dtc_matrix *w, size_t first, size_t count, dtc_tile_adder *add, const dtc_prepared *x, float *y);

/* Round sixteen numbers and write them as a table. */
static inline void dtc_write_table(v128_t a, v128_t b, v128_t c, v128_t d, uint8_t *table) {
#define WHOLE(v) wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(v))
    const v128_t p = wasm_i16x8_narrow_i32x4(WHOLE(a), WHOLE(b)), q = wasm_i16x8_narrow_i32x4(WHOLE(c), WHOLE(d));
#undef WHOLE
    wasm_v128_store(table, wasm_i8x16_shuffle(p, q, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
    wasm_v128_store(table + 16, wasm_i8x16_shuffle(p, q, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
}

/* Numbers of a tile's rows, eight vectors of four. */
typedef struct {
    v128_t rows[8];
} dtc_tile_sums;

/* Add a run's sums, of 16 bits, to those of 32. */
static inline void dtc_add_run(dtc_tile_sums *sums, size_t at, v128_t run) {
    sums->rows[at] = wasm_i32x4_add(sums->rows[at], wasm_i32x4_extend_low_i16x8(run));
    sums->rows[at + 1] = wasm_i32x4_add(sums->rows[at + 1], wasm_i32x4_extend_high_i16x8(run));
}

/* Whole sums of a span of codes. */
static inline dtc_tile_sums dtc_whole_sums(const uint8_t *codes, size_t count, const uint8_t *tables) {
    const v128_t zero = wasm_i32x4_splat(0), nibble = wasm_i8x16_splat(15);
    dtc_tile_sums sums = {{zero, zero, zero, zero, zero, zero, zero, zero}};
    while (count > 0) {
        v128_t a = zero, b = zero, c = zero, d = zero;
        size_t left = count < DTC_RUN ? count : DTC_RUN;
        for (count -= left; left > 0; --left, codes += DTC_CODE_BYTES, tables += DTC_TABLE) {
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
        dtc_add_run(&sums, 0, a);
        dtc_add_run(&sums, 2, b);
        dtc_add_run(&sums, 4, c);
        dtc_add_run(&sums, 6, d);
    }
    return sums;
}

/* Numbers that belong to x: tables of all codes, and `back` of each span, so many codes. */
typedef struct {
    const uint8_t *tables;
    const float *back;
    size_t span;
} dtc_tables;

/* The sums of what codes of each row stand for, from the first code of a span on. */
static inline dtc_tile_sums dtc_look_up(const uint8_t *codes, size_t first, size_t count, const dtc_tables *x) {
    const v128_t zero = wasm_i32x4_splat(0);
    dtc_tile_sums sums = {{zero, zero, zero, zero, zero, zero, zero, zero}};
    for (const size_t end = first + count; first < end; first += x->span) {
        const size_t some = end - first < x->span ? end - first : x->span;
        const dtc_tile_sums whole = dtc_whole_sums(codes + first * DTC_CODE_BYTES, some, x->tables + first * DTC_TABLE);
        const v128_t back = wasm_f32x4_splat(x->back[first / x->span]);
        for (size_t i = 0; i < 8; ++i)
            sums.rows[i] = dtc_add_product(sums.rows[i], wasm_f32x4_convert_i32x4(whole.rows[i]), back);
    }
    return sums;
}

/* y[32] += factors[32] times the numbers. */
static inline void dtc_add_sums(const dtc_tile_sums *sums, const float *factors, float *y) {
    for (size_t i = 0; i < 8; ++i, y += 4, factors += 4)
        wasm_v128_store(y, dtc_add_product(wasm_v128_load(y), wasm_v128_load(factors), sums->rows[i]));
}

#endif
