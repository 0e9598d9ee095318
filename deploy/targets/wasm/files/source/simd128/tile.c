/* Four rows times eight vectors: eight sums of four numbers. A number of a row is spread, and meets all vectors. */
#include "kernels/matrix.h"
#include "simd128/lanes.h"

_Static_assert(DTC_WIDTH == 8, "two registers");

#define ADD(row, i)                                          \
    {                                                        \
        const v128_t number = wasm_v128_load32_splat(a + i); \
        row##0 = dtc_add_product(row##0, number, b0);        \
        row##1 = dtc_add_product(row##1, number, b1);        \
    }

void dtc_tile(size_t cols, const float *rows, const float *vectors, float *sums) {
    const v128_t zero = wasm_f32x4_splat(0);
    v128_t p0 = zero, p1 = zero, q0 = zero, q1 = zero, r0 = zero, r1 = zero, s0 = zero, s1 = zero;
    for (const float *a = rows, *b = vectors, *const end = rows + 4 * cols; a != end; a += 4, b += 8) {
        const v128_t b0 = wasm_v128_load(b), b1 = wasm_v128_load(b + 4);
        ADD(p, 0)
        ADD(q, 1)
        ADD(r, 2)
        ADD(s, 3)
    }
    wasm_v128_store(sums, p0);
    wasm_v128_store(sums + 4, p1);
    wasm_v128_store(sums + 8, q0);
    wasm_v128_store(sums + 12, q1);
    wasm_v128_store(sums + 16, r0);
    wasm_v128_store(sums + 20, r1);
    wasm_v128_store(sums + 24, s0);
    wasm_v128_store(sums + 28, s1);
}
