// The operators of each file; register.cc lists them all.
#ifndef DTC_ORT_REGISTER_H_
#define DTC_ORT_REGISTER_H_

#include <vector>

#include "ort/operator.h"

namespace dtc {

std::vector<Operator> binary_operators();
std::vector<Operator> codebook_operators();
std::vector<Operator> recurrent_operators();
std::vector<Operator> sparse_operators();

}  // namespace dtc

#endif  // DTC_ORT_REGISTER_H_
