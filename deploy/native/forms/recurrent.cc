#include "forms/recurrent.h"

#include <string>
#include <utility>

#include "forms/inputs.h"
#include "forms/recurrent_direction.h"

namespace dtc {
namespace {

void require_shape(const Matrix& weight, const char* name, std::size_t rows, std::size_t cols) {
  require(weight.rows() == rows && weight.cols() == cols,
          std::string(name) + " is a matrix [" + std::to_string(weight.rows()) + ", " + std::to_string(weight.cols()) +
              "], but the node needs [" + std::to_string(rows) + ", " + std::to_string(cols) + "]");
}

}  // namespace

Recurrent::Recurrent(RecurrentOptions options, std::vector<RecurrentWeights> weights)
    : options_(std::move(options)), weights_(std::move(weights)) {
  // A bound that keeps products of sizes far from overflowing; no real state comes near it.
  require(options_.hidden > 0 && options_.hidden < (std::size_t{1} << 24), "hidden_size must be from 1 to 16777215");
  require(!weights_.empty() && weights_.size() == options_.reverse.size(), "one pair of weights a direction is needed");
  require(!(options_.clip < 0.0f), "clip must not be below 0");
  const std::size_t rows = options_.gates() * options_.hidden, columns = weights_[0].input->cols();
  for (const RecurrentWeights& each : weights_) {
    require_shape(*each.input, "W", rows, columns);
    require_shape(*each.recurrent, "R", rows, options_.hidden);
  }
}

void Recurrent::run(const RecurrentInputs& inputs, const RecurrentOutputs& outputs, const Parallel& parallel) const {
  // Sequences of no inputs take no memory in X, however many they are.
  require(inputs.batch <= PTRDIFF_MAX / sizeof(float) / (options_.gates() * options_.hidden),
          "X has more sequences than memory can hold");
  const Sequences sequences(inputs.steps, inputs.batch, inputs.lengths);
  for (std::size_t index = 0; index < weights_.size(); ++index) {
    RecurrentDirection(options_, weights_[index], sequences, inputs, index).run(outputs, parallel);
  }
}

}  // namespace dtc
