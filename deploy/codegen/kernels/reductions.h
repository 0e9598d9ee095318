/* Numbers made of many: reductions, pooling, softmax, normalization. */
#ifndef DTC_REDUCTIONS_H
#define DTC_REDUCTIONS_H

#include "moves.h"

/* y, in the order of the kept axes, of x over the axes that go. At least one axis of each. */
typedef struct {
    size_t kept_axes, kept[DTC_AXES], gone_axes, gone[DTC_AXES];
    ptrdiff_t kept_step[DTC_AXES], gone_step[DTC_AXES];
} dtc_reduce_shape;

#define DTC_REDUCE(name) void dtc_reduce_##name(const dtc_reduce_shape *shape, const float *x, float *y);
DTC_REDUCE(l1)
DTC_REDUCE(l2)
DTC_REDUCE(max)
DTC_REDUCE(mean)
DTC_REDUCE(min)
DTC_REDUCE(prod)
DTC_REDUCE(sum)
DTC_REDUCE(sum_square)
DTC_REDUCE(log_sum)

/* The place of the largest number of each line of x[outer][size][inner]; of equal ones the first. */
void dtc_arg_max(size_t outer, size_t size, size_t inner, const float *x, int64_t *y);

/* Pooling over two axes of each channel; of one axis the first has size 1. */
typedef struct {
    size_t channels;
    size_t size[2], kernel[2], stride[2], dilation[2], before[2], after[2], result[2];
    bool counts_padding;
} dtc_pool_shape;

void dtc_max_pool(const dtc_pool_shape *shape, const float *x, float *y);
void dtc_average_pool(const dtc_pool_shape *shape, const float *x, float *y);

/* x[outer][size][inner], over size; y may be x. */
void dtc_softmax(size_t outer, size_t size, size_t inner, const float *x, float *y);
void dtc_log_softmax(size_t outer, size_t size, size_t inner, const float *x, float *y);

/* x[outer][size] to mean 0 and variance 1, times scale[size] plus bias[size] where these are not NULL; y may be x. */
void dtc_normalize(size_t outer, size_t size, float epsilon, const float *scale, const float *bias, const float *x,
                   float *y);

/* x[outer][channels][inner] times scale[channels] plus bias[channels]; y may be x. */
void dtc_affine(size_t outer, size_t channels, size_t inner, const float *scale, const float *bias, const float *x,
                float *y);

#endif
