#include "elementwise.h"

#define CAST(from, from_type, to, to_type)                                          \
    void dtc_cast_##from##_##to(size_t count, const from_type *x, to_type *y) {     \
        for (size_t i = 0; i < count; ++i) y[i] = (to_type)x[i];                    \
    }

/* What an integer does not hold, or is no number, becomes the least one, as on processors that ONNX Runtime is used on. */
#define TRUNCATE(to, to_type, least)                                                \
    void dtc_cast_float_##to(size_t count, const float *x, to_type *y) {            \
        for (size_t i = 0; i < count; ++i)                                          \
            y[i] = x[i] >= (float)(least) && x[i] < -(float)(least) ? (to_type)x[i] : (least); \
    }

TRUNCATE(int64, int64_t, INT64_MIN)
TRUNCATE(int32, int32_t, INT32_MIN)
CAST(float, float, bool, bool)
CAST(int64, int64_t, float, float)
CAST(int64, int64_t, int32, int32_t)
CAST(int64, int64_t, bool, bool)
CAST(int32, int32_t, float, float)
CAST(int32, int32_t, int64, int64_t)
CAST(int32, int32_t, bool, bool)
CAST(bool, bool, float, float)
CAST(bool, bool, int64, int64_t)
CAST(bool, bool, int32, int32_t)
