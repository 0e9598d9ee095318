/* LSTM, GRU and RNN with ONNX's default activations; weights in any form. */
#ifndef DTC_RECURRENT_H
#define DTC_RECURRENT_H

#include "matrix.h"

#include <stdbool.h>

typedef struct {
    size_t steps, batch, input, hidden, directions;
    size_t together;   /* steps whose inputs are multiplied at once; 1: by themselves */
    bool reverse;      /* of one direction: from the last step to the first */
    bool before_reset; /* GRU: the reset gate scales the product behind its bias */
    float clip;        /* what goes into an activation is cut to +-clip; 0: it is not */
} dtc_recurrent_shape;

/* scratch takes gates * hidden numbers for each of the steps together and of the batch, `input` numbers more for each of
 * them in whole strips where they are several, what is said below, and what a product takes.
 *
 * w [directions * gates * hidden, input], r [directions * gates * hidden, hidden], both with a bias or NULL; gates in
 * ONNX's order: i o f c, z r h, and one alone; peepholes [directions, 3, hidden] of i o f or NULL. x [steps, batch, input]; y [steps,
 * directions, batch, hidden] or NULL;
 * h, c [directions, batch, hidden] hold the state: it starts as first_h, first_c, or zeros where that is NULL. */
void dtc_lstm(const dtc_recurrent_shape *shape, const dtc_matrix *w, const dtc_matrix *r, const float *w_bias,
              const float *r_bias, const float *peepholes, const float *x, const float *first_h, const float *first_c,
              float *y, float *h, float *c, float *scratch);

void dtc_gru(const dtc_recurrent_shape *shape, const dtc_matrix *w, const dtc_matrix *r, const float *w_bias,
             const float *r_bias, const float *x, const float *first_h, float *y, float *h,
             float *scratch /* 4 * hidden */);

void dtc_rnn(const dtc_recurrent_shape *shape, const dtc_matrix *w, const dtc_matrix *r, const float *w_bias,
             const float *r_bias, const float *x, const float *first_h, float *y, float *h,
             float *scratch);

#endif
