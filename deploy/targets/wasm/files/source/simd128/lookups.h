/* Look-ups in registers. What a few columns add for each of sixteen codes are sixteen whole numbers of two or three bytes,
 * each byte of all of them in a register; the codes of sixteen rows look a byte up by one instruction (swizzle).
 * After the published look-up products of few bits: T-MAC, arXiv 2407.00088. */
#ifndef DTC_LOOKUPS_H
#define DTC_LOOKUPS_H

#include "simd128/lanes.h"
#include "simd128/tiles.h"

/* How many of a row's codes have a factor in common, a span. Numbers are rounded by the largest of their span, so that few
 * are better; of a long row more are, where adding up spans would take long. Sums of 128 bytes fit into 15 bits. */
static inline size_t dtc_span(size_t codes) { return codes < 256 ? 8 : 128; }

/* Bytes of a table of numbers of so many bytes, and what is added to them so that they count from 0: 2^15, or 2^22, as a
 * float rounds what has more bits. The largest number is less, so that what rounding may add to it fits. */
#define DTC_TABLE(bytes) (16 * (bytes))
#define DTC_HALF(bytes) ((bytes) == 2 ? 1 << 15 : 1 << 22)
#define DTC_LARGEST(bytes) (DTC_HALF(bytes) - 2)

/* The largest size of what a span's codes stand for, `columns` (1, 2 or 4) numbers of x each; none where one is none. */
float dtc_largest(const float *x, size_t count, size_t columns);

/* y[i] += row (first + i) times x, `add` doing a whole tile: y[32] += its rows. */
typedef struct dtc_prepared dtc_prepared;
typedef void dtc_tile_adder(const dtc_matrix *w, size_t tile, const dtc_prepared *x, float *y);
void dtc_add_tiles(const dtc_matrix *w, size_t first, size_t count, dtc_tile_adder *add, const dtc_prepared *x, float *y);

/* Round sixteen numbers and write them as a table. Added to 2^23, a number is a whole one in the lower bits of its float. */
static inline void dtc_write_table(const v128_t *numbers, size_t bytes, uint8_t *table) {
    const v128_t magic = wasm_f32x4_splat(0x1p23f + (float)DTC_HALF(bytes)), byte = wasm_i32x4_splat(0xFF);
    v128_t whole[4];
    for (size_t i = 0; i < 4; ++i) whole[i] = wasm_f32x4_add(numbers[i], magic);
    for (size_t place = 0; place < bytes; ++place, table += 16) {
        v128_t part[4];
        for (size_t i = 0; i < 4; ++i) part[i] = wasm_v128_and(wasm_u32x4_shr(whole[i], 8 * (uint32_t)place), byte);
        const v128_t low = wasm_u16x8_narrow_i32x4(part[0], part[1]), high = wasm_u16x8_narrow_i32x4(part[2], part[3]);
        wasm_v128_store(table, wasm_u8x16_narrow_i16x8(low, high));
    }
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

/* Eight rows of 32 bits from the sums of each byte of them, 16 bits each; `extra` is too much. */
static inline void dtc_join(const v128_t *bytes, size_t count, v128_t extra, v128_t *rows) {
    const v128_t weights = wasm_i32x4_splat(256 << 16 | 1);
    rows[0] = wasm_i32x4_dot_i16x8(wasm_i16x8_shuffle(bytes[0], bytes[1], 0, 8, 1, 9, 2, 10, 3, 11), weights);
    rows[1] = wasm_i32x4_dot_i16x8(wasm_i16x8_shuffle(bytes[0], bytes[1], 4, 12, 5, 13, 6, 14, 7, 15), weights);
    if (count > 2) {
        rows[0] = wasm_i32x4_add(rows[0], wasm_i32x4_shl(wasm_u32x4_extend_low_u16x8(bytes[2]), 16));
        rows[1] = wasm_i32x4_add(rows[1], wasm_i32x4_shl(wasm_u32x4_extend_high_u16x8(bytes[2]), 16));
    }
    rows[0] = wasm_i32x4_sub(rows[0], extra);
    rows[1] = wasm_i32x4_sub(rows[1], extra);
}

/* Sixteen rows, those of even places first. */
static inline void dtc_join_all(const dtc_byte_sums *sums, size_t bytes, v128_t extra, v128_t *rows) {
    const v128_t even[3] = {dtc_even(&sums[0]), dtc_even(&sums[1]), dtc_even(&sums[2])};
    const v128_t odd[3] = {sums[0].odd, sums[1].odd, sums[2].odd};
    dtc_join(even, bytes, extra, rows);
    dtc_join(odd, bytes, extra, rows + 2);
}

/* Whole sums of a span of codes. */
static inline void dtc_whole_sums(const uint8_t *codes, size_t count, const uint8_t *tables, size_t bytes, v128_t *rows) {
    const v128_t zero = wasm_i32x4_splat(0), nibble = wasm_i8x16_splat(15);
    const v128_t extra = wasm_i32x4_splat((int32_t)count * DTC_HALF(bytes));
    dtc_byte_sums lower[3] = {{zero, zero}, {zero, zero}, {zero, zero}}, upper[3] = {{zero, zero}, {zero, zero}, {zero, zero}};
    for (const uint8_t *const end = codes + count * DTC_CODE_BYTES; codes != end; codes += DTC_CODE_BYTES) {
        const v128_t both = wasm_v128_load(codes);
        const v128_t first = wasm_v128_and(both, nibble), second = wasm_v128_and(wasm_u16x8_shr(both, 4), nibble);
        for (size_t i = 0; i < bytes; ++i, tables += 16) {
            const v128_t table = wasm_v128_load(tables);
            dtc_add_bytes(&lower[i], wasm_i8x16_swizzle(table, first));
            dtc_add_bytes(&upper[i], wasm_i8x16_swizzle(table, second));
        }
    }
    dtc_join_all(lower, bytes, extra, rows);
    dtc_join_all(upper, bytes, extra, rows + 4);
}

/* Numbers that belong to x: tables of all codes, and `back` of each span, so many codes. */
typedef struct {
    const uint8_t *tables;
    const float *back;
    size_t span;
} dtc_tables;

/* The sums of what codes of each row stand for, from the first code of a span on. `bytes` is constant where it is called. */
static inline dtc_tile_sums dtc_look_up(const uint8_t *codes, size_t first, size_t count, const dtc_tables *x, size_t bytes) {
    const v128_t zero = wasm_i32x4_splat(0);
    dtc_tile_sums sums = {{zero, zero, zero, zero, zero, zero, zero, zero}};
    for (const size_t end = first + count; first < end; first += x->span) {
        const size_t some = end - first < x->span ? end - first : x->span;
        const uint8_t *const own = codes + first * DTC_CODE_BYTES, *const tables = x->tables + first * DTC_TABLE(bytes);
        const v128_t back = wasm_f32x4_splat(x->back[first / x->span]);
        v128_t whole[8];
        dtc_whole_sums(own, some, tables, bytes, whole);
        for (size_t i = 0; i < 8; ++i)
            sums.rows[i] = dtc_add_product(sums.rows[i], wasm_f32x4_convert_i32x4(whole[i]), back);
    }
    return sums;
}

/* y[32] += factors[32] times the numbers. */
static inline void dtc_add_scaled(const dtc_tile_sums *sums, const float *factors, float *y) {
    for (size_t i = 0; i < 8; ++i, y += 4, factors += 4)
        wasm_v128_store(y, dtc_add_product(wasm_v128_load(y), wasm_v128_load(factors), sums->rows[i]));
}

#endif
