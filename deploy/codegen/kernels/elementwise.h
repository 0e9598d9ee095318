/* Operators on each number, and on two numbers of tensors that are broadcast. */
#ifndef DTC_ELEMENTWISE_H
#define DTC_ELEMENTWISE_H

#include "moves.h"

/* y[i] of x[i]; y may be x. */
#define DTC_UNARY(name) void dtc_##name(size_t count, const float *x, float *y);
DTC_UNARY(abs)
DTC_UNARY(ceil)
DTC_UNARY(cos)
DTC_UNARY(erf)
DTC_UNARY(exp)
DTC_UNARY(floor)
DTC_UNARY(gelu)
DTC_UNARY(gelu_tanh)
DTC_UNARY(hard_swish)
DTC_UNARY(log)
DTC_UNARY(mish)
DTC_UNARY(neg)
DTC_UNARY(reciprocal)
DTC_UNARY(relu)
DTC_UNARY(round)
DTC_UNARY(sigmoid)
DTC_UNARY(sign)
DTC_UNARY(sin)
DTC_UNARY(softplus)
DTC_UNARY(softsign)
DTC_UNARY(sqrt)
DTC_UNARY(tanh)

/* With two numbers of their own. */
#define DTC_UNARY2(name) void dtc_##name(size_t count, float p, float q, const float *x, float *y);
DTC_UNARY2(celu)             /* alpha */
DTC_UNARY2(clip)             /* min, max */
DTC_UNARY2(elu)              /* alpha */
DTC_UNARY2(hard_sigmoid)     /* alpha, beta */
DTC_UNARY2(leaky_relu)       /* alpha */
DTC_UNARY2(selu)             /* alpha, gamma */
DTC_UNARY2(thresholded_relu) /* alpha */

/* Sizes of the result, and the steps of both operands in each axis, 0 where one is repeated. */
typedef struct {
    size_t axes, size[DTC_AXES];
    ptrdiff_t a_step[DTC_AXES], b_step[DTC_AXES];
} dtc_pair_shape;

/* y may be an operand that is not repeated. */
#define DTC_PAIR(name, type, result) \
    void dtc_##name(const dtc_pair_shape *shape, const type *a, const type *b, result *y);
DTC_PAIR(add_float, float, float)
DTC_PAIR(sub_float, float, float)
DTC_PAIR(mul_float, float, float)
DTC_PAIR(div_float, float, float)
DTC_PAIR(pow_float, float, float)
DTC_PAIR(min_float, float, float)
DTC_PAIR(max_float, float, float)
DTC_PAIR(prelu_float, float, float)
DTC_PAIR(equal_float, float, bool)
DTC_PAIR(less_float, float, bool)
DTC_PAIR(less_equal_float, float, bool)
DTC_PAIR(greater_float, float, bool)
DTC_PAIR(greater_equal_float, float, bool)
DTC_PAIR(add_int64, int64_t, int64_t)
DTC_PAIR(sub_int64, int64_t, int64_t)
DTC_PAIR(mul_int64, int64_t, int64_t)
DTC_PAIR(min_int64, int64_t, int64_t)
DTC_PAIR(max_int64, int64_t, int64_t)
DTC_PAIR(equal_int64, int64_t, bool)
DTC_PAIR(less_int64, int64_t, bool)
DTC_PAIR(less_equal_int64, int64_t, bool)
DTC_PAIR(greater_int64, int64_t, bool)
DTC_PAIR(greater_equal_int64, int64_t, bool)
DTC_PAIR(equal_bool, bool, bool)
DTC_PAIR(and_bool, bool, bool)
DTC_PAIR(or_bool, bool, bool)
DTC_PAIR(xor_bool, bool, bool)

void dtc_not(size_t count, const bool *x, bool *y);

/* y = a where condition, else b; all of the same size. */
void dtc_where_float(size_t count, const bool *condition, const float *a, const float *b, float *y);
void dtc_where_int64(size_t count, const bool *condition, const int64_t *a, const int64_t *b, int64_t *y);

#define DTC_CAST(from, from_type, to, to_type) \
    void dtc_cast_##from##_##to(size_t count, const from_type *x, to_type *y);
DTC_CAST(float, float, int64, int64_t)
DTC_CAST(float, float, int32, int32_t)
DTC_CAST(float, float, bool, bool)
DTC_CAST(int64, int64_t, float, float)
DTC_CAST(int64, int64_t, int32, int32_t)
DTC_CAST(int64, int64_t, bool, bool)
DTC_CAST(int32, int32_t, float, float)
DTC_CAST(int32, int32_t, int64, int64_t)
DTC_CAST(int32, int32_t, bool, bool)
DTC_CAST(bool, bool, float, float)
DTC_CAST(bool, bool, int64, int64_t)
DTC_CAST(bool, bool, int32, int32_t)

#endif
