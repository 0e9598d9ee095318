/* Four numbers at a time: a compiler does not do so by itself, as y may be x. */
#include "kernels/elementwise.h"

#include <wasm_simd128.h>

void dtc_relu(size_t count, const float *x, float *y) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) wasm_v128_store(y + i, wasm_f32x4_pmax(wasm_v128_load(x + i), wasm_f32x4_splat(0)));
    for (; i < count; ++i) y[i] = x[i] < 0 ? 0 : x[i];
}

void dtc_clip(size_t count, float p, float q, const float *x, float *y) {
    const v128_t low = wasm_f32x4_splat(p), high = wasm_f32x4_splat(q);
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        wasm_v128_store(y + i, wasm_f32x4_pmin(wasm_f32x4_pmax(wasm_v128_load(x + i), low), high));
    for (; i < count; ++i) y[i] = x[i] < p ? p : x[i] > q ? q : x[i];
}
