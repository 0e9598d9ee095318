/* Products and convolutions; weights in any form. */
#ifndef DTC_PRODUCTS_H
#define DTC_PRODUCTS_H

#include "matrix.h"

/* y[count][rows] = x[count][cols] times the transposed weight, plus bias[rows] where that is not NULL. */
void dtc_linear(const dtc_matrix *w, const float *bias, size_t count, const float *x, float *y, float *scratch);

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
} dtc_conv_shape;

/* Places of a result that are computed at once where a weight has products of several vectors. */
enum { DTC_PLACES = 32 };

/* The weight is [out, in / groups * kernel]; scratch: in / groups * kernel + out / groups, for each place, and what a
 * product takes. */
void dtc_conv(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
              float *scratch);

/* The weight is [out * kernel, in / groups], `size` that of x; scratch: in / groups + out / groups * kernel, and what a
 * product takes. */
void dtc_conv_transpose(const dtc_conv_shape *shape, const dtc_matrix *w, const float *bias, const float *x, float *y,
                        float *scratch);

#endif
