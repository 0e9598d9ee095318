// The operators of each file; register.cc lists them all.
#ifndef DTC_REGISTER_H_
#define DTC_REGISTER_H_

#include <vector>

#include "operator.h"

namespace dtc {

using Group = std::vector<Operator> (*)();

}  // namespace dtc

#endif  // DTC_REGISTER_H_
