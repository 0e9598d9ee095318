/* Four numbers of the result at once. */
#include "kernels/products.h"
#include "simd128/lanes.h"

#include <string.h>

/* Every number, every second, or others. */
static inline v128_t four_at(const float *x, size_t stride) {
    if (stride == 1) return wasm_v128_load(x);
    if (stride == 2) return wasm_i32x4_shuffle(wasm_v128_load(x), wasm_v128_load(x + 4), 0, 2, 4, 6);
    return wasm_f32x4_make(x[0], x[stride], x[2 * stride], x[3 * stride]);
}

static inline v128_t four_sums(const dtc_conv_shape *shape, const float *kernel, v128_t sum, size_t cols, const float *x,
                               size_t stride) {
    for (size_t i = 0; i < shape->kernel[0]; ++i, x += shape->dilation[0] * cols)
        for (size_t j = 0; j < shape->kernel[1]; ++j)
            sum = dtc_add_product(sum, wasm_v128_load32_splat(kernel++), four_at(x + j * shape->dilation[1], stride));
    return sum;
}

static inline void write_row(const dtc_conv_shape *shape, const float *kernel, float bias, size_t cols, const float *x, float *y,
                             size_t stride) {
    const v128_t start = wasm_f32x4_splat(bias);
    size_t at = 0;
    for (; at + 4 <= shape->result[1]; at += 4, x += 4 * stride)
        wasm_v128_store(y + at, four_sums(shape, kernel, start, cols, x, stride));
    if (at < shape->result[1]) {
        float last[4];
        wasm_v128_store(last, four_sums(shape, kernel, start, cols, x, stride));
        memcpy(y + at, last, (shape->result[1] - at) * sizeof *y);
    }
}

void dtc_depthwise_row(const dtc_conv_shape *shape, const float *kernel, float bias, size_t cols, const float *x, float *y) {
    if (shape->stride[1] == 1)
        write_row(shape, kernel, bias, cols, x, y, 1);
    else if (shape->stride[1] == 2)
        write_row(shape, kernel, bias, cols, x, y, 2);
    else
        write_row(shape, kernel, bias, cols, x, y, shape->stride[1]);
}
