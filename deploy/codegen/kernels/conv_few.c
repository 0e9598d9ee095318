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

void dtc_conv_few(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
                  float *scratch) {
    const size_t in = shape->in / shape->groups, out = shape->out / shape->groups;
    const size_t area = shape->size[0] * shape->size[1], places = shape->result[0] * shape->result[1];
    float *patch = scratch, *column = patch + w->cols, *rest = column + out;
    for (size_t n = 0; n < shape->batch * shape->groups; ++n, x += in * area, y += out * places) {
        const size_t first = n % shape->groups * out;
        for (size_t place = 0; place < places; ++place) {
            const size_t at[2] = {place / shape->result[1], place % shape->result[1]};
            take_patch(shape, x, in, at, patch);
            for (size_t o = 0; o < out; ++o) column[o] = bias ? bias[first + o] : 0;
            w->product(w, first, out, patch, column, rest);
            for (size_t o = 0; o < out; ++o) y[o * places + place] = column[o];
        }
    }
}
