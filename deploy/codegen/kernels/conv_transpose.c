#include "products.h"

#include <string.h>

/* Add what one number of each channel gives, [channels][kernel], to the result. */
static void add_patch(const dtc_conv_shape *shape, const float *patch, size_t channels, const size_t at[2], float *y) {
    for (size_t c = 0; c < channels; ++c, y += shape->result[0] * shape->result[1])
        for (size_t i = 0; i < shape->kernel[0]; ++i) {
            const size_t row = at[0] * shape->stride[0] + i * shape->dilation[0] - shape->before[0];
            for (size_t j = 0; j < shape->kernel[1]; ++j, ++patch) {
                const size_t col = at[1] * shape->stride[1] + j * shape->dilation[1] - shape->before[1];
                if (row < shape->result[0] && col < shape->result[1]) y[row * shape->result[1] + col] += *patch;
            }
        }
}

void dtc_conv_transpose(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
                        float *scratch) {
    const size_t in = shape->in / shape->groups, out = shape->out / shape->groups;
    const size_t area = shape->size[0] * shape->size[1], places = shape->result[0] * shape->result[1];
    const size_t rows = out * shape->kernel[0] * shape->kernel[1];
    float *numbers = scratch, *patch = numbers + in, *rest = patch + rows;
    for (size_t n = 0; n < shape->batch * shape->groups; ++n, x += in * area, y += out * places) {
        const size_t group = n % shape->groups;
        for (size_t o = 0; o < out; ++o)
            for (size_t p = 0; p < places; ++p) y[o * places + p] = bias ? bias[group * out + o] : 0;
        size_t at[2];
        for (at[0] = 0; at[0] < shape->size[0]; ++at[0])
            for (at[1] = 0; at[1] < shape->size[1]; ++at[1]) {
                for (size_t c = 0; c < in; ++c) numbers[c] = x[c * area + at[0] * shape->size[1] + at[1]];
                memset(patch, 0, rows * sizeof *patch);
                w->product(w, group * rows, rows, numbers, patch, rest);
                add_patch(shape, patch, out, at, y);
            }
    }
}
