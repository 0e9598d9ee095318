#include "products.h"

#include <stdbool.h>
#include <string.h>

/* Places of a result that lie side by side in a strip. */
enum { QUAD = 4 };

typedef struct {
    size_t count;
    size_t row[QUAD], col[QUAD]; /* of their windows */
    bool straight;               /* windows lie side by side in a row */
} quad;

static quad quad_at(const dtc_conv_shape *shape, size_t place, size_t count) {
    quad at = {count < QUAD ? count : QUAD, {0}, {0}, false};
    size_t row = place / shape->result[1], col = place % shape->result[1];
    for (size_t i = 0; i < at.count; ++i) {
        /* Padding in front makes these wrap around to numbers beyond the size. */
        at.row[i] = row * shape->stride[0] - shape->before[0];
        at.col[i] = col * shape->stride[1] - shape->before[1];
        if (++col == shape->result[1]) ++row, col = 0;
    }
    at.straight = at.count == QUAD && shape->stride[1] == 1 && at.row[QUAD - 1] == at.row[0];
    return at;
}

/* Write the numbers at `row` and `col` of the windows, of all channels. */
static void take(const dtc_conv_shape *shape, const quad *places, size_t row, size_t col, const float *x, size_t channels,
                 float *to, size_t step) {
    const size_t area = shape->size[0] * shape->size[1], r = places->row[0] + row, c = places->col[0] + col;
    if (places->straight && r < shape->size[0] && c < shape->size[1] && c + QUAD <= shape->size[1]) {
        for (x += r * shape->size[1] + c; channels > 0; --channels, x += area, to += step) memcpy(to, x, QUAD * sizeof *to);
        return;
    }
    for (size_t i = 0; i < QUAD; ++i) {
        const size_t own_row = places->row[i] + row, own_col = places->col[i] + col;
        const bool there = i < places->count && own_row < shape->size[0] && own_col < shape->size[1];
        const float *from = there ? x + own_row * shape->size[1] + own_col : NULL;
        for (size_t channel = 0; channel < channels; ++channel) to[channel * step + i] = from ? from[channel * area] : 0;
    }
}

/* Write the windows of some places, [channels][kernel], as strips. */
static void pack(const dtc_conv_shape *shape, const float *x, size_t channels, size_t start, size_t count, float *panel) {
    const size_t taps = shape->kernel[0] * shape->kernel[1];
    for (size_t first = 0; first < count; first += DTC_WIDTH, panel += channels * taps * DTC_WIDTH)
        for (size_t i = 0; i < DTC_WIDTH; i += QUAD) {
            const size_t left = first + i < count ? count - first - i : 0;
            const quad places = quad_at(shape, start + first + i, left);
            float *to = panel + i;
            for (size_t row = 0; row < shape->kernel[0]; ++row)
                for (size_t col = 0; col < shape->kernel[1]; ++col, to += DTC_WIDTH)
                    take(shape, &places, row * shape->dilation[0], col * shape->dilation[1], x, channels, to, taps * DTC_WIDTH);
        }
}

void dtc_conv(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
              float *scratch) {
    const size_t in = shape->in / shape->groups, out = shape->out / shape->groups, most = shape->most;
    const size_t area = shape->size[0] * shape->size[1], places = shape->result[0] * shape->result[1];
    for (size_t n = 0; n < shape->batch * shape->groups; ++n, x += in * area, y += out * places) {
        const size_t first = n % shape->groups * out;
        for (size_t o = 0; o < out; ++o)
            for (size_t p = 0; p < places; ++p) y[o * places + p] = bias ? bias[first + o] : 0;
        for (size_t start = 0; start < places; start += most) {
            const size_t count = places - start < most ? places - start : most;
            pack(shape, x, in, start, count, scratch);
            const dtc_vectors windows = {count, scratch, y + start, places, 1};
            w->products(w, first, out, &windows, scratch + most * w->cols);
        }
    }
}
