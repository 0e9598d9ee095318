#include "reductions.h"

#include <math.h>

typedef struct {
    float sum, most;
    size_t count; /* of numbers that are no padding */
} found;

static found window(const dtc_pool_shape *shape, const float *x, const size_t at[2]) {
    found all = {0, -INFINITY, 0};
    for (size_t i = 0; i < shape->kernel[0]; ++i) {
        /* Padding in front makes this wrap around to a number beyond the size. */
        const size_t row = at[0] * shape->stride[0] + i * shape->dilation[0] - shape->before[0];
        if (row >= shape->size[0]) continue;
        for (size_t j = 0; j < shape->kernel[1]; ++j) {
            const size_t col = at[1] * shape->stride[1] + j * shape->dilation[1] - shape->before[1];
            if (col >= shape->size[1]) continue;
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
