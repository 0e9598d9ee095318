/* Look-ups in registers. What a few columns add for each of sixteen codes are sixteen numbers of 16 bits, whose low and
 * high bytes are a register each; the codes of sixteen rows look them up by one instruction (swizzle) a byte.
 * After the published look-up products of few bits: T-MAC, arXiv 2407.00088. */
#ifndef DTC_LOOKUPS_H
#define DTC_LOOKUPS_H

#include "simd128/lanes.h"
#include "simd128/tiles.h"

/* The largest whole number of a table, what rounding may add to it fitting beside, and the most codes that have a factor in
 * common, a span: sums of so many bytes fit into 15 bits. */
enum { DTC_LARGEST = 32766, DTC_SPAN = 128 };

/* Bytes of a table: sixteen low ones, sixteen high ones, 128 more than they stand for. */
enum { DTC_TABLE = 32 };

/* The factor that makes whole numbers of what a span's codes stand for, `columns` (1, 2 or 4) numbers of x each, none
 * beyond 16 bits. `back` makes whole numbers those of x again. What is not finite stays so, as `back` is infinite or no
 * number then. */
float dtc_factor(const float *x, size_t count, size_t columns, float *back);

/* y[i] += row (first + i) times x, `add` doing a whole tile: y[32] += its rows. */
typedef struct dtc_prepared dtc_prepared;
typedef void dtc_tile_adder(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y);
void dtc_add_tiles(const dtc_matrix *w, size_t first, size_t count, dtc_tile_adder *add, const dtc_prepared *x, float *y);

/* Round sixteen numbers, of at most 16 bits, and write them as a table. Added to 3 * 2^22, a number is a whole one in the
 * lower bits of its float; 2^15 more make the high byte count from 0. */
static inline void dtc_write_table(v128_t a, v128_t b, v128_t c, v128_t d, uint8_t *table) {
    const v128_t magic = wasm_f32x4_splat(0x3p22f + 0x1p15f), lower = wasm_i32x4_splat(0xFFFF), byte = wasm_i16x8_splat(0xFF);
#define WHOLE(v) wasm_v128_and(wasm_f32x4_add(v, magic), lower)
    const v128_t p = wasm_u16x8_narrow_i32x4(WHOLE(a), WHOLE(b)), q = wasm_u16x8_narrow_i32x4(WHOLE(c), WHOLE(d));
#undef WHOLE
    wasm_v128_store(table, wasm_u8x16_narrow_i16x8(wasm_v128_and(p, byte), wasm_v128_and(q, byte)));
    wasm_v128_store(table + 16, wasm_u8x16_narrow_i16x8(wasm_u16x8_shr(p, 8), wasm_u16x8_shr(q, 8)));
}

/* Sums of sixteen bytes each: those of odd places, and in 16 bits at once `odd * 256 + even`. */
typedef struct {
    v128_t both, odd;
} dtc_byte_sums;

static inline void dtc_add_bytes(dtc_byte_sums *sums, v128_t bytes) {
    sums->both = wasm_i16x8_add(sums->both, bytes);
    sums->odd = wasm_i16x8_add(sums->odd, wasm_u16x8_shr(bytes, 8));
}

static inline v128_t dtc_even(const dtc_byte_sums *sums) {
    return wasm_i16x8_sub(sums->both, wasm_i16x8_shl(sums->odd, 8));
}

/* Numbers of a tile's rows, eight vectors of four. */
typedef struct {
    v128_t rows[8];
} dtc_tile_sums;

/* Eight rows of 32 bits from the sums of their low and high bytes. */
static inline void dtc_join(v128_t low, v128_t high, v128_t extra, v128_t *rows) {
    const v128_t weights = wasm_i32x4_splat(256 << 16 | 1);
    high = wasm_i16x8_sub(high, extra);
    rows[0] = wasm_i32x4_dot_i16x8(wasm_i16x8_shuffle(low, high, 0, 8, 1, 9, 2, 10, 3, 11), weights);
    rows[1] = wasm_i32x4_dot_i16x8(wasm_i16x8_shuffle(low, high, 4, 12, 5, 13, 6, 14, 7, 15), weights);
}

/* Whole sums of a span of codes. */
static inline dtc_tile_sums dtc_whole_sums(const uint8_t *codes, size_t count, const uint8_t *tables) {
    const v128_t zero = wasm_i32x4_splat(0), nibble = wasm_i8x16_splat(15);
    const v128_t extra = wasm_i16x8_splat((int16_t)(128 * count));
    dtc_byte_sums low = {zero, zero}, high = low, upper_low = low, upper_high = low;
    for (const uint8_t *const end = codes + count * DTC_CODE_BYTES; codes != end; codes += DTC_CODE_BYTES) {
        const v128_t code = wasm_v128_load(codes), lows = wasm_v128_load(tables), highs = wasm_v128_load(tables + 16);
        const v128_t first = wasm_v128_and(code, nibble), second = wasm_v128_and(wasm_u16x8_shr(code, 4), nibble);
        dtc_add_bytes(&low, wasm_i8x16_swizzle(lows, first));
        dtc_add_bytes(&high, wasm_i8x16_swizzle(highs, first));
        dtc_add_bytes(&upper_low, wasm_i8x16_swizzle(lows, second));
        dtc_add_bytes(&upper_high, wasm_i8x16_swizzle(highs, second));
        tables += DTC_TABLE;
    }
    dtc_tile_sums sums;
    dtc_join(dtc_even(&low), dtc_even(&high), extra, sums.rows);
    dtc_join(low.odd, high.odd, extra, sums.rows + 2);
    dtc_join(dtc_even(&upper_low), dtc_even(&upper_high), extra, sums.rows + 4);
    dtc_join(upper_low.odd, upper_high.odd, extra, sums.rows + 6);
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
