#include "elementwise.h"

#define CAST(from, from_type, to, to_type)                                          \
    void dtc_cast_##from##_##to(size_t count, const from_type *x, to_type *y) {     \
        for (size_t i = 0; i < count; ++i) y[i] = (to_type)x[i];                    \
    }

CAST(float, float, int64, int64_t)
CAST(float, float, int32, int32_t)
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
