#include "reductions.h"

#include <math.h>

/* Largest number, and the sum of exp of what is below it, of one line. */
static float log_sum(size_t size, size_t step, const float *x, float *most) {
    float sum = 0;
    *most = x[0];
    for (size_t k = 1; k < size; ++k)
        if (x[k * step] > *most) *most = x[k * step];
    for (size_t k = 0; k < size; ++k) sum += expf(x[k * step] - *most);
    return sum;
}

void dtc_softmax(size_t outer, size_t size, size_t inner, const float *x, float *y) {
    for (size_t i = 0; i < outer; ++i, x += size * inner, y += size * inner)
        for (size_t j = 0; j < inner; ++j) {
            float most;
            const float sum = log_sum(size, inner, x + j, &most);
            for (size_t k = 0; k < size; ++k) y[k * inner + j] = expf(x[k * inner + j] - most) / sum;
        }
}

void dtc_log_softmax(size_t outer, size_t size, size_t inner, const float *x, float *y) {
    for (size_t i = 0; i < outer; ++i, x += size * inner, y += size * inner)
        for (size_t j = 0; j < inner; ++j) {
            float most;
            const float sum = logf(log_sum(size, inner, x + j, &most));
            for (size_t k = 0; k < size; ++k) y[k * inner + j] = x[k * inner + j] - most - sum;
        }
}

void dtc_normalize(size_t outer, size_t size, float epsilon, const float *scale, const float *bias, const float *x,
                   float *y) {
    for (size_t i = 0; i < outer; ++i, x += size, y += size) {
        float mean = 0, left = 0, variance = 0;
        for (size_t k = 0; k < size; ++k) mean += x[k];
        mean /= (float)size;
        for (size_t k = 0; k < size; ++k) {
            const float far = x[k] - mean;
            left += far;
            variance += far * far;
        }
        /* What rounding left of a mean that is far larger than the deviation; their sum would be rounded again. */
        left /= (float)size;
        const float factor = 1 / sqrtf(fmaxf(variance / (float)size - left * left, 0) + epsilon);
        for (size_t k = 0; k < size; ++k)
            y[k] = (x[k] - mean - left) * factor * (scale ? scale[k] : 1) + (bias ? bias[k] : 0);
    }
}

void dtc_affine(size_t outer, size_t channels, size_t inner, const float *scale, const float *bias, const float *x,
                float *y) {
    for (size_t i = 0; i < outer * channels; ++i, x += inner, y += inner) {
        const float factor = scale[i % channels], added = bias[i % channels];
        for (size_t j = 0; j < inner; ++j) y[j] = x[j] * factor + added;
    }
}
