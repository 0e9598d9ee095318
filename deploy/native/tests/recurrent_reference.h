// LSTM and GRU as https://onnx.ai/onnx/operators/ writes them, in double, one number at a time.
#ifndef DTC_TESTS_RECURRENT_REFERENCE_H_
#define DTC_TESTS_RECURRENT_REFERENCE_H_

#include <vector>

#include "forms/recurrent.h"

namespace dtc::testing {

/// A node and its arrays; an empty one is left out.
struct Node {
  RecurrentOptions options;
  std::size_t steps = 1, batch = 1, inputs = 1;
  std::vector<float> x, w, r, bias, initial_h, initial_c, peepholes;
  std::vector<std::int32_t> lengths;
};

struct Outputs {
  std::vector<double> y, y_h, y_c;
};

Outputs reference(const Node& node);

}  // namespace dtc::testing

#endif  // DTC_TESTS_RECURRENT_REFERENCE_H_
