#include "elementwise.h"

#include <math.h>

/* The last axis in a loop of its own; y is written in order. */
#define PAIR(name, type, result, value)                                                             \
    void dtc_##name(const dtc_pair_shape *shape, const type *a, const type *b, result *y) {         \
        const size_t last = shape->axes - 1;                                                        \
        const ptrdiff_t a_step = shape->a_step[last], b_step = shape->b_step[last];                 \
        size_t index[DTC_AXES] = {0};                                                               \
        do {                                                                                        \
            const type *p = a, *q = b;                                                              \
            for (size_t axis = 0; axis < last; ++axis) {                                            \
                p += (ptrdiff_t)index[axis] * shape->a_step[axis];                                  \
                q += (ptrdiff_t)index[axis] * shape->b_step[axis];                                  \
            }                                                                                       \
            for (size_t i = 0; i < shape->size[last]; ++i) {                                        \
                const type u = p[(ptrdiff_t)i * a_step], v = q[(ptrdiff_t)i * b_step];              \
                *y++ = (value);                                                                     \
            }                                                                                       \
        } while (dtc_next(last, shape->size, index));                                               \
    }

#define COMPARISONS(name, type)                          \
    PAIR(equal_##name, type, bool, u == v)               \
    PAIR(less_##name, type, bool, u < v)                 \
    PAIR(less_equal_##name, type, bool, u <= v)          \
    PAIR(greater_##name, type, bool, u > v)              \
    PAIR(greater_equal_##name, type, bool, u >= v)

COMPARISONS(float, float)
PAIR(add_float, float, float, u + v)
PAIR(sub_float, float, float, u - v)
PAIR(mul_float, float, float, u *v)
PAIR(div_float, float, float, u / v)
PAIR(min_float, float, float, u < v || isnan(u) ? u : v)
PAIR(max_float, float, float, u > v || isnan(u) ? u : v)
/* The root of -INFINITY is none, its power is INFINITY. */
PAIR(pow_float, float, float, v == 2 ? u * u : v == 0.5f && u >= 0 ? sqrtf(u) : powf(u, v))
PAIR(prelu_float, float, float, u < 0 ? u * v : u)

/* Beyond the largest number these go on at the least one. */
COMPARISONS(int64, int64_t)
PAIR(add_int64, int64_t, int64_t, (int64_t)((uint64_t)u + (uint64_t)v))
PAIR(sub_int64, int64_t, int64_t, (int64_t)((uint64_t)u - (uint64_t)v))
PAIR(mul_int64, int64_t, int64_t, (int64_t)((uint64_t)u * (uint64_t)v))
PAIR(min_int64, int64_t, int64_t, u < v ? u : v)
PAIR(max_int64, int64_t, int64_t, u > v ? u : v)

PAIR(equal_bool, bool, bool, u == v)
PAIR(and_bool, bool, bool, u && v)
PAIR(or_bool, bool, bool, u || v)
PAIR(xor_bool, bool, bool, u != v)

void dtc_not(size_t count, const bool *x, bool *y) {
    for (size_t i = 0; i < count; ++i) y[i] = !x[i];
}

#define WHERE(name, type)                                                                               \
    void dtc_where_##name(size_t count, const bool *condition, const type *a, const type *b, type *y) { \
        for (size_t i = 0; i < count; ++i) y[i] = condition[i] ? a[i] : b[i];                           \
    }

WHERE(float, float)
WHERE(int64, int64_t)
