/* Copies of numbers from one order into another, of four types. */
#ifndef DTC_MOVES_H
#define DTC_MOVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DTC_AXES = 6 };

/* y[to + i * y_step] = x[from + i * x_step] for all i below size, an index for each of `axes` axes, at least one. */
typedef struct {
    size_t axes, size[DTC_AXES];
    ptrdiff_t from, to, x_step[DTC_AXES], y_step[DTC_AXES];
} dtc_copy_shape;

/* y[outer][count][inner] of x[outer][size][inner]: the lines that ids name; negative ones count from the end, those
 * beyond an end are cut to it. */
typedef struct {
    size_t outer, size, inner, count;
} dtc_take_shape;

#define DTC_MOVES(name, type)                                                                            \
    void dtc_copy_##name(const dtc_copy_shape *shape, const type *x, type *y);                           \
    void dtc_fill_##name(size_t count, type value, type *y);                                             \
    void dtc_take_##name##_int64(const dtc_take_shape *shape, const type *x, const int64_t *ids, type *y); \
    void dtc_take_##name##_int32(const dtc_take_shape *shape, const type *x, const int32_t *ids, type *y); \
    /* y[places[i]] = x[i] */                                                                            \
    void dtc_scatter_##name(size_t count, const int32_t *places, const type *x, type *y);

DTC_MOVES(float, float)
DTC_MOVES(int64, int64_t)
DTC_MOVES(int32, int32_t)
DTC_MOVES(bool, bool)

/* Advance an index of several axes; false where it was the last one. */
bool dtc_next(size_t axes, const size_t *size, size_t *index);

#endif
