/* Four numbers at a time, each within a few units in the last place. */
#include "kernels/elementwise.h"
#include "simd128/lanes.h"

#include <string.h>

/* e^x is 2^n e^r, r being within half of ln 2: `power` is 2^n, `rest` e^r - 1, which is exact where it is small. */
typedef struct {
    v128_t power, rest;
} split;

/* Of x within +-87. */
static inline split split_exp(v128_t x) {
    const v128_t whole = wasm_f32x4_nearest(wasm_f32x4_mul(x, wasm_f32x4_splat(1.44269504f)));
    /* ln 2 in two parts: a whole number times the first is exact. */
    v128_t r = wasm_f32x4_sub(x, wasm_f32x4_mul(whole, wasm_f32x4_splat(0.693359375f)));
    r = wasm_f32x4_sub(r, wasm_f32x4_mul(whole, wasm_f32x4_splat(-2.12194440e-4f)));
    static const float parts[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 1.0f / 2, 1};
    v128_t sum = wasm_f32x4_splat(1.0f / 5040);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i)
        sum = dtc_add_product(wasm_f32x4_splat(parts[i]), sum, r);
    const v128_t exponent = wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(whole), wasm_i32x4_splat(127));
    return (split){wasm_i32x4_shl(exponent, 23), wasm_f32x4_mul(sum, r)};
}

/* Numbers that are none stay so. */
static inline v128_t within(v128_t x, float most) {
    return wasm_f32x4_pmin(wasm_f32x4_pmax(x, wasm_f32x4_splat(-most)), wasm_f32x4_splat(most));
}

static inline v128_t sigmoid(v128_t x) {
    const v128_t one = wasm_f32x4_splat(1);
    const split found = split_exp(within(wasm_f32x4_neg(x), 87));
    const v128_t exp = dtc_add_product(found.power, found.power, found.rest);
    return wasm_f32x4_div(one, wasm_f32x4_add(one, exp));
}

/* Of e^2x - 1, which keeps the digits of small numbers; beyond 10 it is 1. */
static inline v128_t hyperbolic_tangent(v128_t x) {
    const split found = split_exp(within(wasm_f32x4_add(x, x), 20));
    const v128_t less = wasm_f32x4_sub(found.power, wasm_f32x4_splat(1));
    const v128_t both = dtc_add_product(less, found.power, found.rest);
    return wasm_f32x4_div(both, wasm_f32x4_add(both, wasm_f32x4_splat(2)));
}

#define EACH(name, function)                                                                       \
    void name(size_t count, const float *x, float *y) {                                            \
        float last[4] = {0};                                                                       \
        for (; count >= 4; count -= 4, x += 4, y += 4) wasm_v128_store(y, function(wasm_v128_load(x))); \
        memcpy(last, x, count * sizeof *x);                                                        \
        wasm_v128_store(last, function(wasm_v128_load(last)));                                     \
        memcpy(y, last, count * sizeof *y);                                                        \
    }

EACH(dtc_sigmoid, sigmoid)
EACH(dtc_tanh, hyperbolic_tangent)
