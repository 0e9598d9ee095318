/* Numbers that are kept within limits. */
#include "elementwise.h"

void dtc_relu(size_t count, const float *x, float *y) {
    for (size_t i = 0; i < count; ++i) y[i] = x[i] < 0 ? 0 : x[i];
}

void dtc_clip(size_t count, float p, float q, const float *x, float *y) {
    for (size_t i = 0; i < count; ++i) y[i] = x[i] < p ? p : x[i] > q ? q : x[i];
}
