#include "products.h"

void dtc_depthwise_row(const dtc_conv_shape *shape, const float *kernel, float bias, size_t cols, const float *x, float *y) {
    for (size_t at = 0; at < shape->result[1]; ++at, x += shape->stride[1]) {
        const float *w = kernel, *line = x;
        float sum = bias;
        for (size_t i = 0; i < shape->kernel[0]; ++i, line += shape->dilation[0] * cols)
            for (size_t j = 0; j < shape->kernel[1]; ++j) sum += *w++ * line[j * shape->dilation[1]];
        y[at] = sum;
    }
}
