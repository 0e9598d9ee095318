#include "products.h"

#include <string.h>

/* Write a channel with its padding: rows that windows reach. */
static void pad(const dtc_conv_shape *shape, const float *x, size_t rows, size_t cols, float *to) {
    const size_t left = shape->before[1] < cols ? shape->before[1] : cols;
    const size_t width = cols - left < shape->size[1] ? cols - left : shape->size[1];
    for (size_t row = 0; row < rows; ++row, to += cols) {
        memset(to, 0, cols * sizeof *to);
        if (row - shape->before[0] < shape->size[0])
            memcpy(to + left, x + (row - shape->before[0]) * shape->size[1], width * sizeof *to);
    }
}

void dtc_conv_depthwise(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
                        float *scratch) {
    const size_t area = shape->size[0] * shape->size[1];
    size_t reach[2];
    for (size_t axis = 0; axis < 2; ++axis)
        reach[axis] = (shape->result[axis] - 1) * shape->stride[axis] + (shape->kernel[axis] - 1) * shape->dilation[axis] + 1;
    float *kernel = scratch, *padded = scratch + w->cols;
    memset(padded + reach[0] * reach[1], 0, DTC_BEYOND * sizeof *padded);
    for (size_t n = 0; n < shape->batch * shape->groups; ++n, x += area) {
        const size_t channel = n % shape->groups;
        w->row(w, channel, kernel);
        pad(shape, x, reach[0], reach[1], padded);
        for (size_t row = 0; row < shape->result[0]; ++row, y += shape->result[1])
            dtc_depthwise_row(shape, kernel, bias ? bias[channel] : 0, reach[1], padded + row * shape->stride[0] * reach[1], y);
    }
}
