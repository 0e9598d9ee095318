#include "reductions.h"

#include <math.h>

typedef struct {
    float sum, most;
    size_t count; /* of numbers that are no padding */
} found;

static found window(const dtc_pool_shape *shape, const float *x, const size_t at[2]) {
    found all = {0, -INFINITY, 0};
    size_t first[2], end[2];
    for (size_t axis = 0; axis < 2; ++axis) {
        /* Of the window's numbers those that are behind the padding in front, and before the one at the end. */
        const size_t start = at[axis] * shape->stride[axis], step = shape->dilation[axis];
        const size_t before = shape->before[axis], behind = before + shape->size[axis];
        first[axis] = start < before ? (before - start + step - 1) / step : 0;
        end[axis] = start < behind ? (behind - start + step - 1) / step : 0;
        if (end[axis] > shape->kernel[axis]) end[axis] = shape->kernel[axis];
    }
    for (size_t i = first[0]; i < end[0]; ++i) {
        const size_t row = at[0] * shape->stride[0] + i * shape->dilation[0] - shape->before[0];
        for (size_t j = first[1]; j < end[1]; ++j) {
            const size_t col = at[1] * shape->stride[1] + j * shape->dilation[1] - shape->before[1];
            const float value = x[row * shape->size[1] + col];
            all.sum += value;
            all.most = value > all.most ? value : all.most;
            ++all.count;
        }
    }
    return all;
}

/* How many numbers of a window are within the size and its padding: a window may begin there and go beyond. */
static size_t covered(const dtc_pool_shape *shape, const size_t at[2]) {
    size_t product = 1;
    for (size_t axis = 0; axis < 2; ++axis) {
        const size_t end = shape->before[axis] + shape->size[axis] + shape->after[axis];
        size_t count = 0;
        for (size_t i = 0; i < shape->kernel[axis]; ++i)
            count += at[axis] * shape->stride[axis] + i * shape->dilation[axis] < end;
        product *= count;
    }
    return product;
}

void dtc_max_pool(const dtc_pool_shape *shape, const float *x, float *y) {
    size_t at[2];
    for (size_t c = 0; c < shape->channels; ++c, x += shape->size[0] * shape->size[1])
        for (at[0] = 0; at[0] < shape->result[0]; ++at[0])
            for (at[1] = 0; at[1] < shape->result[1]; ++at[1]) *y++ = window(shape, x, at).most;
}

void dtc_average_pool(const dtc_pool_shape *shape, const float *x, float *y) {
    size_t at[2];
    for (size_t c = 0; c < shape->channels; ++c, x += shape->size[0] * shape->size[1])
        for (at[0] = 0; at[0] < shape->result[0]; ++at[0])
            for (at[1] = 0; at[1] < shape->result[1]; ++at[1]) {
                const found all = window(shape, x, at);
                *y++ = all.sum / (float)(shape->counts_padding ? covered(shape, at) : all.count);
            }
}
