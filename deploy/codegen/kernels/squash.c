#include "elementwise.h"

#include <math.h>

void dtc_sigmoid(size_t count, const float *x, float *y) {
    for (size_t i = 0; i < count; ++i) y[i] = 1 / (1 + expf(-x[i]));
}

void dtc_tanh(size_t count, const float *x, float *y) {
    for (size_t i = 0; i < count; ++i) y[i] = tanhf(x[i]);
}
