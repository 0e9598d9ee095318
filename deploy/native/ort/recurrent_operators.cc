// LSTM and GRU by the forms of their weights: `LSTM_<w>_<r>` and `GRU_<w>_<r>`; recurrent.py says what they take.

#include <limits>
#include <utility>

#include "forms/recurrent.h"
#include "forms/recurrent_weights.h"
#include "ort/register.h"

namespace dtc {
namespace {

using Cell = RecurrentOptions::Cell;

/// An operator: the cell and the forms of its weights.
struct Kind {
  Cell cell;
  RecurrentForm w, r;

  /// Inputs in front of the weights' arrays: X, B, sequence_lens, initial_h, and of an LSTM initial_c, P.
  std::size_t plain_inputs() const { return cell == Cell::lstm ? 6 : 4; }
  std::size_t outputs() const { return cell == Cell::lstm ? 3 : 2; }
};

std::vector<bool> reverse_of(const std::string& direction) {
  if (direction == "forward") return {false};
  if (direction == "reverse") return {true};
  require(direction == "bidirectional", "direction is " + direction + ", not forward, reverse or bidirectional");
  return {false, true};
}

std::size_t size_attribute(const Attributes& node, const char* name) {
  const std::int64_t value = node.integer(name);
  require(value >= 0 && value < (std::int64_t{1} << 31), std::string(name) + " is " + std::to_string(value));
  return static_cast<std::size_t>(value);
}

RecurrentOptions options_of(const Kind& kind, const Attributes& node) {
  RecurrentOptions options;
  options.cell = kind.cell;
  options.hidden = size_attribute(node, "hidden_size");
  options.reverse = reverse_of(node.string("direction", "forward"));
  options.clip = node.real("clip", std::numeric_limits<float>::infinity());
  options.linear_before_reset = kind.cell == Cell::gru && node.integer("linear_before_reset", 0) != 0;
  return options;
}

/// `prefix` is w_ or r_.
WeightSettings settings_of(const Attributes& node, const std::string& prefix) {
  WeightSettings settings;
  settings.bits = node.integer((prefix + "bits").c_str(), settings.bits);
  settings.group_size = node.integer((prefix + "group_size").c_str(), settings.group_size);
  settings.accuracy_level = node.integer("accuracy_level", settings.accuracy_level);
  settings.codebook_level = node.integer("accuracy_level", settings.codebook_level);
  return settings;
}

/// Throws Error unless a float input that is there has the given shape.
const float* floats(const Tensor& tensor, const char* name, const Shape& shape) {
  if (!tensor.present()) return nullptr;
  require(tensor, name, {Type::f32}, shape.size());
  require(tensor.shape == shape, std::string(name) + " has shape " + text(tensor.shape) + ", not " + text(shape));
  return tensor.as<float>();
}

/// What stays the same for all runs of a node.
class Plan {
 public:
  Plan(const Kind& kind, const Attributes& node)
      : kind_(kind),
        options_(options_of(kind, node)),
        input_size_(size_attribute(node, "input_size")),
        w_(settings_of(node, "w_")),
        r_(settings_of(node, "r_")) {}

  std::size_t array_count() const { return kind_.w.arrays.size() + kind_.r.arrays.size(); }
  std::size_t first_array() const { return kind_.plain_inputs(); }

  /// The node on the arrays of W and then of R.
  std::unique_ptr<Recurrent> make(const Arrays& arrays) const {
    const auto middle = arrays.begin() + static_cast<std::ptrdiff_t>(kind_.w.arrays.size());
    const Arrays w(arrays.begin(), middle), r(middle, arrays.end());
    const std::size_t directions = options_.reverse.size(), rows = options_.gates() * options_.hidden;
    std::vector<RecurrentWeights> weights;
    for (std::size_t index = 0; index < directions; ++index) {
      weights.push_back({kind_.w.make(w, {index, directions, rows, input_size_}, w_),
                         kind_.r.make(r, {index, directions, rows, options_.hidden}, r_)});
    }
    return std::make_unique<Recurrent>(options_, std::move(weights));
  }

 private:
  Kind kind_;
  RecurrentOptions options_;
  std::size_t input_size_;
  WeightSettings w_, r_;
};

class RecurrentKernel : public Kernel {
 public:
  RecurrentKernel(const Kind& kind, const Node& node) : kind_(kind), plan_(kind, node) {
    const auto arrays = constants(node, plan_.first_array(), plan_.array_count());
    if (arrays) held_ = plan_.make(*arrays);
  }

  void compute(Run& run) const override {
    if (held_) return compute_with(*held_, run);
    compute_with(*plan_.make(inputs(run, plan_.first_array(), plan_.array_count())), run);
  }

 private:
  void compute_with(const Recurrent& recurrent, Run& run) const {
    const Tensor x = run.input(0);
    require(x, "X", {Type::f32}, 3);
    const auto directions = static_cast<std::int64_t>(recurrent.directions());
    const auto hidden = static_cast<std::int64_t>(recurrent.options().hidden);
    const auto gates = static_cast<std::int64_t>(recurrent.options().gates());
    const std::int64_t steps = x.shape[0], batch = x.shape[1];
    require(x.shape[2] == static_cast<std::int64_t>(recurrent.inputs()),
            "X has shape " + text(x.shape) + ", but W has " + std::to_string(recurrent.inputs()) + " columns");
    const Shape state = {directions, batch, hidden};
    const Tensor lengths = run.input(2);
    require(!lengths.present() || (lengths.type == Type::i32 && lengths.shape == Shape{batch}),
            "sequence_lens must be int32 [" + std::to_string(batch) + "]");
    RecurrentInputs inputs;
    inputs.steps = static_cast<std::size_t>(steps);
    inputs.batch = static_cast<std::size_t>(batch);
    inputs.x = x.as<float>();
    inputs.bias = floats(run.input(1), "B", {directions, 2 * gates * hidden});
    inputs.lengths = lengths.as<std::int32_t>();
    inputs.initial_h = floats(run.input(3), "initial_h", state);
    RecurrentOutputs outputs;
    if (kind_.cell == Cell::lstm) {
      inputs.initial_c = floats(run.input(4), "initial_c", state);
      inputs.peepholes = floats(run.input(5), "P", {directions, 3 * hidden});
      outputs.y_c = run.output(2, state);
    }
    outputs.y = run.output(0, {steps, directions, batch, hidden});
    outputs.y_h = run.output(1, state);
    recurrent.run(inputs, outputs, run.parallel());
  }

  Kind kind_;
  Plan plan_;
  std::unique_ptr<Recurrent> held_;
};

void infer(const Kind& kind, Inference& inference) {
  const std::optional<Dims> x = inference.input(0);
  const std::optional<std::int64_t> hidden = inference.integer("hidden_size");
  if (!x || x->size() != 3 || !hidden) return;
  const bool both = inference.string("direction").value_or("forward") == "bidirectional";
  const Dim directions{both ? 2 : 1, {}}, size{*hidden, {}};
  const Dims state = {directions, (*x)[1], size};
  inference.output(0, {(*x)[0], directions, (*x)[1], size});
  for (std::size_t index = 1; index < kind.outputs(); ++index) inference.output(index, state);
}

Operator described(const Kind& kind) {
  Operator op;
  op.name = std::string(kind.cell == Cell::lstm ? "LSTM_" : "GRU_") + kind.w.name + "_" + kind.r.name;
  op.inputs.assign(kind.plain_inputs(), {Type::f32, false});
  op.inputs[0].required = true;
  op.inputs[2].type = Type::i32;
  for (const RecurrentForm& form : {kind.w, kind.r}) {
    for (const Type type : form.arrays) op.inputs.push_back({type});
  }
  op.output_required.assign(kind.outputs(), false);
  op.create = [kind](const Node& node) { return std::make_unique<RecurrentKernel>(kind, node); };
  op.infer = [kind](Inference& inference) { infer(kind, inference); };
  return op;
}

}  // namespace

std::vector<Operator> recurrent_operators() {
  std::vector<Operator> all;
  for (const Cell cell : {Cell::lstm, Cell::gru}) {
    for (const RecurrentForm& w : recurrent_forms()) {
      for (const RecurrentForm& r : recurrent_forms()) {
        const bool dense = w.name == r.name && std::string(w.name) == "dense";  // that is ONNX's own node
        if (w.for_input && !dense) all.push_back(described({cell, w, r}));
      }
    }
  }
  return all;
}

}  // namespace dtc
