#include "reductions.h"

#include <math.h>

/* The last axis that goes in a loop of its own; `count` numbers make one. */
#define REDUCE(name, first, step, result)                                                        \
    void dtc_reduce_##name(const dtc_reduce_shape *shape, const float *x, float *y) {            \
        const size_t last = shape->gone_axes - 1;                                                \
        size_t kept[DTC_AXES] = {0};                                                             \
        do {                                                                                     \
            const float *from = x;                                                               \
            size_t gone[DTC_AXES] = {0}, count = 0;                                              \
            float s = (first);                                                                   \
            for (size_t axis = 0; axis < shape->kept_axes; ++axis)                               \
                from += (ptrdiff_t)kept[axis] * shape->kept_step[axis];                          \
            do {                                                                                 \
                const float *at = from;                                                          \
                for (size_t axis = 0; axis < last; ++axis)                                       \
                    at += (ptrdiff_t)gone[axis] * shape->gone_step[axis];                        \
                for (size_t i = 0; i < shape->gone[last]; ++i, ++count) {                        \
                    const float v = at[(ptrdiff_t)i * shape->gone_step[last]];                   \
                    s = (step);                                                                  \
                }                                                                                \
            } while (dtc_next(last, shape->gone, gone));                                         \
            (void)count;                                                                         \
            *y++ = (result);                                                                     \
        } while (dtc_next(shape->kept_axes, shape->kept, kept));                                 \
    }

REDUCE(l1, 0, s + fabsf(v), s)
REDUCE(l2, 0, s + v * v, sqrtf(s))
REDUCE(max, -INFINITY, v > s ? v : s, s)
REDUCE(mean, 0, s + v, s / (float)count)
REDUCE(min, INFINITY, v < s ? v : s, s)
REDUCE(prod, 1, s *v, s)
REDUCE(sum, 0, s + v, s)
REDUCE(sum_square, 0, s + v * v, s)
REDUCE(log_sum, 0, s + v, logf(s))

void dtc_arg_max(size_t outer, size_t size, size_t inner, const float *x, int64_t *y) {
    for (size_t i = 0; i < outer; ++i, x += size * inner)
        for (size_t j = 0; j < inner; ++j) {
            size_t best = 0;
            for (size_t k = 1; k < size; ++k)
                if (x[k * inner + j] > x[best * inner + j]) best = k;
            *y++ = (int64_t)best;
        }
}
