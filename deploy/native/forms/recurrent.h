// LSTM and GRU on weights of any form: what the ONNX operators of those names compute.
#ifndef DTC_FORMS_RECURRENT_H_
#define DTC_FORMS_RECURRENT_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "forms/matrix.h"

namespace dtc {

/// What a node's attributes say; the activations are the operators' defaults.
struct RecurrentOptions {
  enum class Cell { lstm, gru };

  Cell cell = Cell::lstm;
  std::size_t hidden = 0;
  std::vector<bool> reverse = {false};  ///< of each direction
  float clip = std::numeric_limits<float>::infinity();
  bool linear_before_reset = false;  ///< of a GRU

  std::size_t gates() const { return cell == Cell::lstm ? 4 : 3; }
};

/// The weights of one direction: W [gates * hidden, inputs] and R [gates * hidden, hidden], with ONNX's order of gates.
struct RecurrentWeights {
  std::unique_ptr<Matrix> input, recurrent;
};

/// Arrays of one call; D directions. Null where the node has no such input.
struct RecurrentInputs {
  std::size_t steps = 0, batch = 0;
  const float* x = nullptr;               ///< [steps, batch, inputs]
  const float* bias = nullptr;            ///< [D, 2 * gates * hidden]
  const std::int32_t* lengths = nullptr;  ///< [batch]
  const float* initial_h = nullptr;       ///< [D, batch, hidden]
  const float* initial_c = nullptr;       ///< [D, batch, hidden]
  const float* peepholes = nullptr;       ///< [D, 3 * hidden]
};

/// Where the outputs go; null where nobody reads one.
struct RecurrentOutputs {
  float* y = nullptr;    ///< [steps, D, batch, hidden]
  float* y_h = nullptr;  ///< [D, batch, hidden]
  float* y_c = nullptr;  ///< [D, batch, hidden]
};

/// One recurrent node. The last state of an empty sequence is 0, as ONNX Runtime has it.
class Recurrent {
 public:
  /// Throws Error where a weight does not have the rows and columns that the options ask for.
  Recurrent(RecurrentOptions options, std::vector<RecurrentWeights> weights);

  std::size_t inputs() const { return weights_[0].input->cols(); }
  std::size_t directions() const { return weights_.size(); }
  const RecurrentOptions& options() const { return options_; }

  /// Throws Error where a length is below 0 or above `steps`. May run on several threads at once.
  void run(const RecurrentInputs& inputs, const RecurrentOutputs& outputs, const Parallel& parallel) const;

 private:
  RecurrentOptions options_;
  std::vector<RecurrentWeights> weights_;
};

}  // namespace dtc

#endif  // DTC_FORMS_RECURRENT_H_
