// One direction of a recurrent node in one call.
#ifndef DTC_FORMS_RECURRENT_DIRECTION_H_
#define DTC_FORMS_RECURRENT_DIRECTION_H_

#include <cstddef>
#include <memory>

#include "forms/recurrent.h"
#include "forms/sequences.h"

namespace dtc {

/// Holds the states of the batch, in the order of `Sequences`, and the scratch of the call.
class RecurrentDirection {
 public:
  RecurrentDirection(const RecurrentOptions& options, const RecurrentWeights& weights, const Sequences& sequences,
                     const RecurrentInputs& inputs, std::size_t index);

  /// Runs all steps and writes this direction's part of the outputs.
  void run(const RecurrentOutputs& outputs, const Parallel& parallel);

 private:
  using Array = std::unique_ptr<float[]>;

  void load_bias(const float* bias);
  void load_state(const float* initial, float* state) const;
  void store_state(const float* state, float* out) const;
  std::size_t end_of_chunk(std::size_t step) const;
  void project(std::size_t begin, std::size_t end, const Parallel& parallel);
  std::size_t time(std::size_t sequence, std::size_t step) const;
  void recall(const float* state, std::size_t running, const Parallel& parallel);
  void lstm_step(const float* given, std::size_t running, const Parallel& parallel);
  void gru_step(const float* given, std::size_t running, const Parallel& parallel);
  template <typename Body>
  void each_row(std::size_t running, const Parallel& parallel, const Body& body) const;
  void write_step(std::size_t step, std::size_t running, float* y) const;
  void write_zeros(float* y) const;

  const RecurrentOptions& options_;
  const RecurrentWeights& weights_;
  const Sequences& sequences_;
  const RecurrentInputs& inputs_;
  const std::size_t index_, hidden_, rows_;  // rows: gates * hidden
  const bool reverse_;
  bool at_rest_;  // the state is 0, and so is its product
  const float* peepholes_;
  Array bias_;        // [rows + hidden]: of the gates, then what a GRU adds inside of its reset gate
  Array h_, c_;       // [batch, hidden]
  Array given_;       // [running of each step of a chunk, rows]
  Array recurrent_;   // [batch, rows]
  Array z_, scaled_;  // [batch, hidden], of a GRU
};

}  // namespace dtc

#endif  // DTC_FORMS_RECURRENT_DIRECTION_H_
