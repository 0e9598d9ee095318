/* What kernels of 128 bits share. */
#ifndef DTC_LANES_H
#define DTC_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

/* The sum of four numbers. */
static inline float dtc_total(v128_t v) {
    v = wasm_f32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1);
}

/* The sums of four vectors, as a vector. */
static inline v128_t dtc_totals(v128_t a, v128_t b, v128_t c, v128_t d) {
    const v128_t ab = wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
    const v128_t cd = wasm_f32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
    /* a0+a2 b0+b2 a1+a3 b1+b3, and of c and d */
    return wasm_f32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

static inline v128_t dtc_add_product(v128_t sum, v128_t a, v128_t b) { return wasm_f32x4_add(sum, wasm_f32x4_mul(a, b)); }

/* The numbers that four indices lead to. */
static inline v128_t dtc_four_of(const float *numbers, const uint8_t *indices) {
    v128_t found = wasm_v128_load32_zero(numbers + indices[0]);
    found = wasm_v128_load32_lane(numbers + indices[1], found, 1);
    found = wasm_v128_load32_lane(numbers + indices[2], found, 2);
    return wasm_v128_load32_lane(numbers + indices[3], found, 3);
}

/* What brings the bytes of four rows of a tile, of which a strip is made, into the highest bytes of lanes: see tiles.h. */
static inline v128_t dtc_strip_bytes(size_t strip) {
    const int first = (int)(strip % 2 * 8 + strip % 4 / 2);
    const v128_t lanes = wasm_i32x4_make(0, 2 << 24, 4 << 24, 6 << 24);
    return wasm_v128_or(wasm_i32x4_add(lanes, wasm_i32x4_splat(first << 24)), wasm_i32x4_splat(0x808080));
}

#endif
