#include "elementwise.h"

#include <math.h>

#define UNARY(name, value)                                        \
    void dtc_##name(size_t count, const float *x, float *y) {     \
        for (size_t i = 0; i < count; ++i) {                      \
            const float v = x[i];                                 \
            y[i] = (value);                                       \
        }                                                         \
    }

#define UNARY2(name, value)                                                         \
    void dtc_##name(size_t count, float p, float q, const float *x, float *y) {     \
        (void)p, (void)q;                                                           \
        for (size_t i = 0; i < count; ++i) {                                        \
            const float v = x[i];                                                   \
            y[i] = (value);                                                         \
        }                                                                           \
    }

/* Without an overflow of exp. */
static float softplus(float v) { return fmaxf(v, 0) + log1pf(expf(-fabsf(v))); }

/* What is no number stays that. */
static float within_one(float v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

UNARY(abs, fabsf(v))
UNARY(ceil, ceilf(v))
UNARY(cos, cosf(v))
UNARY(erf, erff(v))
UNARY(exp, expf(v))
UNARY(floor, floorf(v))
UNARY(gelu, 0.5f * v * (1 + erff(v * 0.70710678f)))
UNARY(gelu_tanh, 0.5f * v * (1 + tanhf(0.79788456f * (v + 0.044715f * v * v * v))))
UNARY(hard_swish, v *within_one(v / 6 + 0.5f))
UNARY(log, logf(v))
UNARY(mish, v * tanhf(softplus(v)))
UNARY(neg, -v)
UNARY(reciprocal, 1 / v)
UNARY(round, rintf(v))
UNARY(sign, v > 0 ? 1 : v < 0 ? -1 : v)
UNARY(sin, sinf(v))
UNARY(softplus, softplus(v))
UNARY(softsign, v / (1 + fabsf(v)))
UNARY(sqrt, sqrtf(v))

UNARY2(celu, v > 0 ? v : p * expm1f(v / p))
UNARY2(elu, v < 0 ? p * expm1f(v) : v)
UNARY2(hard_sigmoid, within_one(p * v + q))
UNARY2(leaky_relu, v < 0 ? p * v : v)
UNARY2(selu, q *(v < 0 ? p * expm1f(v) : v))
UNARY2(thresholded_relu, v > p ? v : 0)
