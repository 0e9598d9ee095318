#include "moves.h"

bool dtc_next(size_t axes, const size_t *size, size_t *index) {
    while (axes-- > 0) {
        if (++index[axes] < size[axes]) return true;
        index[axes] = 0;
    }
    return false;
}

static size_t place_of(int64_t id, size_t size) {
    const int64_t last = (int64_t)size - 1;
    if (id < 0) id += (int64_t)size;
    return (size_t)(id < 0 ? 0 : id > last ? last : id);
}

#define TAKE(name, type, index)                                                                     \
    void name(const dtc_take_shape *shape, const type *x, const index *ids, type *y) {              \
        for (size_t i = 0; i < shape->outer; ++i, x += shape->size * shape->inner)                  \
            for (size_t k = 0; k < shape->count; ++k) {                                             \
                const type *line = x + place_of(ids[k], shape->size) * shape->inner;                \
                for (size_t j = 0; j < shape->inner; ++j) *y++ = line[j];                           \
            }                                                                                       \
    }

#define MOVES(name, type)                                                                           \
    void dtc_copy_##name(const dtc_copy_shape *shape, const type *x, type *y) {                     \
        const size_t last = shape->axes - 1;                                                        \
        size_t index[DTC_AXES] = {0};                                                               \
        do {                                                                                        \
            const type *from = x + shape->from;                                                     \
            type *to = y + shape->to;                                                               \
            for (size_t axis = 0; axis < last; ++axis) {                                            \
                from += (ptrdiff_t)index[axis] * shape->x_step[axis];                               \
                to += (ptrdiff_t)index[axis] * shape->y_step[axis];                                 \
            }                                                                                       \
            for (size_t i = 0; i < shape->size[last]; ++i)                                          \
                to[(ptrdiff_t)i * shape->y_step[last]] = from[(ptrdiff_t)i * shape->x_step[last]];  \
        } while (dtc_next(last, shape->size, index));                                               \
    }                                                                                               \
    void dtc_fill_##name(size_t count, type value, type *y) {                                       \
        for (size_t i = 0; i < count; ++i) y[i] = value;                                            \
    }                                                                                               \
    void dtc_scatter_##name(size_t count, const int32_t *places, const type *x, type *y) {          \
        for (size_t i = 0; i < count; ++i) y[places[i]] = x[i];                                     \
    }                                                                                               \
    TAKE(dtc_take_##name##_int64, type, int64_t)                                                    \
    TAKE(dtc_take_##name##_int32, type, int32_t)

MOVES(float, float)
MOVES(int64, int64_t)
MOVES(int32, int32_t)
MOVES(bool, bool)
