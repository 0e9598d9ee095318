#include "products.h"

#include <string.h>

/* Write the numbers that one number of the result depends on, [channels][kernel], zeros where there is padding. */
static void take_patch(const dtc_conv_shape *shape, const float *x, size_t channels, const size_t at[2], float *patch) {
    for (size_t c = 0; c < channels; ++c, x += shape->size[0] * shape->size[1])
        for (size_t i = 0; i < shape->kernel[0]; ++i) {
            /* Padding in front makes this wrap around to a number beyond the size. */
            const size_t row = at[0] * shape->stride[0] + i * shape->dilation[0] - shape->before[0];
            if (row >= shape->size[0]) {
                memset(patch, 0, shape->kernel[1] * sizeof *patch);
                patch += shape->kernel[1];
                continue;
            }
            const float *line = x + row * shape->size[1];
            for (size_t j = 0; j < shape->kernel[1]; ++j) {
                const size_t col = at[1] * shape->stride[1] + j * shape->dilation[1] - shape->before[1];
                *patch++ = col < shape->size[1] ? line[col] : 0;
            }
        }
}

void dtc_conv(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
              float *scratch) {
    const size_t in = shape->in / shape->groups, out = shape->out / shape->groups;
    const size_t area = shape->size[0] * shape->size[1], places = shape->result[0] * shape->result[1];
    const size_t most = w->products && shape->groups == 1 ? DTC_PLACES : 1;
    float *patches = scratch, *columns = patches + most * w->cols, *rest = columns + most * out;
    for (size_t n = 0; n < shape->batch * shape->groups; ++n, x += in * area, y += out * places) {
        const size_t first = n % shape->groups * out;
        for (size_t start = 0; start < places; start += most) {
            const size_t count = places - start < most ? places - start : most;
            for (size_t i = 0; i < count; ++i) {
                const size_t at[2] = {(start + i) / shape->result[1], (start + i) % shape->result[1]};
                take_patch(shape, x, in, at, patches + i * w->cols);
                for (size_t o = 0; o < out; ++o) columns[i * out + o] = bias ? bias[first + o] : 0;
            }
            if (most > 1)
                w->products(w, count, patches, columns, rest);
            else
                w->product(w, first, out, patches, columns, rest);
            for (size_t i = 0; i < count; ++i)
                for (size_t o = 0; o < out; ++o) y[o * places + start + i] = columns[i * out + o];
        }
    }
}

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
