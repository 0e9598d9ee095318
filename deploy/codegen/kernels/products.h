/* Products and convolutions; weights in any form. */
#ifndef DTC_PRODUCTS_H
#define DTC_PRODUCTS_H

#include "matrix.h"

/* y[count][rows] = x[count][cols] times the transposed weight, plus bias[rows] where that is not NULL. */
void dtc_linear(const dtc_matrix *w, const float *bias, size_t count, const float *x, float *y, float *scratch);

/* The same, `most` vectors at once, whole strips; scratch: cols for each of them, and what products take. */
void dtc_linear_many(const dtc_matrix *w, const float *bias, size_t count, size_t most, const float *x, float *y,
                     float *scratch);

/* Write vectors [count][cols], from one to the next by a step, as strips. */
void dtc_pack(size_t count, size_t cols, const float *x, ptrdiff_t step, float *panel);

/* y[batch][m][n] = a[batch][m][k] times b[batch][k][n]; strides of a batch, 0 where all have the same. */
typedef struct {
    size_t batch, m, k, n, a_batch, b_batch;
    /* Strides of a's and b's rows and columns. */
    size_t a_row, a_col, b_row, b_col;
} dtc_matmul_shape;

void dtc_matmul(const dtc_matmul_shape *shape, const float *a, const float *b, float *y);

/* y[count][rows] for rows that numbers name; negative ones count from the end, those beyond an end are cut to it. */
void dtc_rows_int64(const dtc_matrix *w, size_t count, const int64_t *ids, float *y);
void dtc_rows_int32(const dtc_matrix *w, size_t count, const int32_t *ids, float *y);

/* A convolution over two axes; of one axis the first has size 1. */
typedef struct {
    size_t batch, in, out, groups;
    size_t size[2], kernel[2], stride[2], dilation[2], before[2], result[2];
    /* Places of the result that are computed at once, whole strips. */
    size_t most;
} dtc_conv_shape;

/* The weight is [out, in / groups * kernel]; scratch: in / groups * kernel for each place, and what products take. */
void dtc_conv(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
              float *scratch);

/* The same, one place at a time, where they are few; scratch: in / groups * kernel + out / groups, and what a product takes. */
void dtc_conv_few(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
                  float *scratch);

/* Each channel by itself: groups, in and out are the same. The weight is [out, kernel]; scratch: kernel, and a channel
 * with its padding, DTC_BEYOND more. */
enum { DTC_BEYOND = 8 };

void dtc_conv_depthwise(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
                        float *scratch);

/* A row of its result, from rows of `cols` numbers on, padding included; up to DTC_BEYOND behind the last may be read. */
void dtc_depthwise_row(const dtc_conv_shape *shape, const float *kernel, float bias, size_t cols, const float *x, float *y);

/* The weight is [out * kernel, in / groups], `size` that of x; scratch: in / groups + out / groups * kernel, and what a
 * product takes. */
void dtc_conv_transpose(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
                        float *scratch);

#endif
