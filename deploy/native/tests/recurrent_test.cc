#include "forms/recurrent.h"

#include <cmath>
#include <limits>
#include <random>
#include <thread>
#include <utility>

#include "forms/inputs.h"
#include "tests/check.h"
#include "tests/recurrent_reference.h"

namespace {

using namespace dtc;
using dtc::testing::Node;
using dtc::testing::Outputs;
using Cell = RecurrentOptions::Cell;

class NaiveMatrix : public Matrix {
 public:
  NaiveMatrix(std::size_t rows, std::size_t cols, const float* weight) : Matrix(rows, cols), weight_(weight) {}

  void multiply(const float* x, std::size_t count, float* y, const Parallel&) const override {
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t r = 0; r < rows(); ++r) {
        double sum = 0;
        for (std::size_t c = 0; c < cols(); ++c) sum += double{weight_[r * cols() + c]} * double{x[i * cols() + c]};
        y[i * rows() + r] = static_cast<float>(sum);
      }
    }
  }

 private:
  const float* weight_;
};

Recurrent made(const Node& node) {
  std::vector<RecurrentWeights> weights;
  const std::size_t hidden = node.options.hidden, rows = node.options.gates() * hidden;
  for (std::size_t d = 0; d < node.options.reverse.size(); ++d) {
    weights.push_back({std::make_unique<NaiveMatrix>(rows, node.inputs, node.w.data() + d * rows * node.inputs),
                       std::make_unique<NaiveMatrix>(rows, hidden, node.r.data() + d * rows * hidden)});
  }
  return Recurrent(node.options, std::move(weights));
}

template <typename T>
const T* pointer(const std::vector<T>& array) {
  return array.empty() ? nullptr : array.data();
}

struct Result {
  std::vector<float> y, y_h, y_c;
};

Result computed(const Node& node, const Parallel& parallel = Parallel()) {
  const std::size_t directions = node.options.reverse.size(), states = directions * node.batch * node.options.hidden;
  Result out{std::vector<float>(node.steps * states, 7.0f), std::vector<float>(states, 7.0f),
             std::vector<float>(states, node.options.cell == Cell::lstm ? 7.0f : 0.0f)};
  RecurrentInputs inputs;
  inputs.steps = node.steps;
  inputs.batch = node.batch;
  inputs.x = node.x.data();
  inputs.bias = pointer(node.bias);
  inputs.lengths = pointer(node.lengths);
  inputs.initial_h = pointer(node.initial_h);
  inputs.initial_c = pointer(node.initial_c);
  inputs.peepholes = pointer(node.peepholes);
  made(node).run(inputs, {out.y.data(), out.y_h.data(), out.y_c.data()}, parallel);
  return out;
}

struct Kind {
  Cell cell = Cell::lstm;
  std::vector<bool> reverse = {false};
  bool with_optional_inputs = true;
  bool linear_before_reset = false;
  float clip = std::numeric_limits<float>::infinity();
};

Node random_node(const Kind& kind, std::size_t steps, std::size_t batch, std::size_t inputs, std::size_t hidden) {
  std::mt19937 engine(static_cast<unsigned>(steps * 1000 + batch * 100 + inputs * 10 + hidden));
  std::normal_distribution<float> normal;
  const auto array = [&](std::size_t count, float scale) {
    std::vector<float> out(count);
    for (float& number : out) number = scale * normal(engine);
    return out;
  };
  Node node;
  node.options = {kind.cell, hidden, kind.reverse, kind.clip, kind.linear_before_reset};
  node.steps = steps, node.batch = batch, node.inputs = inputs;
  const std::size_t d = kind.reverse.size(), rows = d * node.options.gates() * hidden;
  node.x = array(steps * batch * inputs, 1.0f);
  node.w = array(rows * inputs, 1.0f / std::sqrt(static_cast<float>(inputs + 1)));
  node.r = array(rows * hidden, 1.0f / std::sqrt(static_cast<float>(hidden)));
  if (!kind.with_optional_inputs) return node;
  node.bias = array(2 * rows, 1.0f);
  node.initial_h = array(d * batch * hidden, 1.0f);
  if (kind.cell == Cell::lstm) {
    node.initial_c = array(d * batch * hidden, 1.0f);
    node.peepholes = array(d * 3 * hidden, 1.0f);
  }
  std::uniform_int_distribution<std::int32_t> length(0, static_cast<std::int32_t>(steps));
  for (std::size_t row = 0; row < batch; ++row) node.lengths.push_back(length(engine));
  return node;
}

void check_near(const std::vector<float>& computed_values, const std::vector<double>& right, double tolerance) {
  CHECK(computed_values.size() == right.size());
  double worst = 0;
  for (std::size_t i = 0; i < right.size(); ++i) {
    const double error = std::fabs(static_cast<double>(computed_values[i]) - right[i]);
    worst = error <= worst ? worst : error;  // a NaN counts
  }
  CHECK(worst <= tolerance);
}

void check(const Node& node, const Parallel& parallel = Parallel()) {
  const Outputs right = reference(node);
  const Result got = computed(node, parallel);
  check_near(got.y, right.y, 1e-5);
  check_near(got.y_h, right.y_h, 1e-5);
  check_near(got.y_c, right.y_c, 1e-5);
}

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const std::vector<bool>& reverse : {std::vector<bool>{false}, {true}, {false, true}}) {
    for (bool with : {false, true}) {
      for (float clip : {std::numeric_limits<float>::infinity(), 0.5f}) {
        all.push_back({Cell::lstm, reverse, with, false, clip});
        all.push_back({Cell::gru, reverse, with, false, clip});
        all.push_back({Cell::gru, reverse, with, true, clip});
      }
    }
  }
  return all;
}

TEST(recurrent_nodes_compute_what_onnx_says) {
  for (const Kind& kind : kinds()) {
    for (std::size_t hidden : {1, 3, 8, 13, 33}) {
      check(random_node(kind, 5, 3, 4, hidden));
      check(random_node(kind, 1, 1, 7, hidden));
    }
    check(random_node(kind, 9, 20, 1, 5));
    check(random_node(kind, 35, 2, 3, 16));
  }
}

TEST(recurrent_nodes_without_steps_sequences_or_inputs) {
  for (const Kind& kind : kinds()) {
    check(random_node(kind, 0, 2, 4, 5));
    check(random_node(kind, 4, 0, 4, 5));
    check(random_node(kind, 4, 2, 0, 5));
    check(random_node(kind, 0, 0, 0, 1));
  }
}

TEST(recurrent_nodes_of_many_rows_are_computed_in_chunks) {
  for (Cell cell : {Cell::lstm, Cell::gru}) {
    Kind kind;
    kind.cell = cell;
    for (bool with : {false, true}) {
      kind.with_optional_inputs = with;
      check(random_node(kind, 10, 3600, 2, 8));  // 10 x 3600 x 32 numbers of gates, more than a chunk has
    }
  }
}

void for_each_in_threads(void*, Parallel::Task task, std::size_t pieces, void* data) {
  std::vector<std::thread> threads;
  for (std::size_t piece = 0; piece < pieces; ++piece) threads.emplace_back(task, data, piece);
  for (std::thread& thread : threads) thread.join();
}

TEST(recurrent_nodes_on_several_threads) {
  for (const Kind& kind : kinds()) check(random_node(kind, 2, 161, 3, 121), Parallel(for_each_in_threads, nullptr));
}

TEST(recurrent_outputs_that_nobody_reads_are_not_written) {
  for (Cell cell : {Cell::lstm, Cell::gru}) {
    Kind kind;
    kind.cell = cell;
    const Node node = random_node(kind, 3, 2, 4, 5);
    RecurrentInputs inputs;
    inputs.steps = node.steps, inputs.batch = node.batch, inputs.x = node.x.data();
    std::vector<float> y_h(node.batch * 5);
    made(node).run(inputs, {nullptr, y_h.data(), nullptr}, Parallel());
    Node plain = node;
    plain.bias = plain.initial_h = plain.initial_c = plain.peepholes = {};
    plain.lengths = {};
    check_near(y_h, reference(plain).y_h, 1e-5);
    made(node).run(inputs, {}, Parallel());
  }
}

TEST(recurrent_nodes_hand_on_what_is_not_a_number) {
  for (Cell cell : {Cell::lstm, Cell::gru}) {
    Kind kind;
    kind.cell = cell;
    kind.with_optional_inputs = false;
    Node node = random_node(kind, 4, 2, 3, 9);
    node.x[(2 * 2 + 1) * 3] = std::numeric_limits<float>::quiet_NaN();  // step 2 of the second sequence
    const Result got = computed(node);
    for (std::size_t j = 0; j < 9; ++j) {
      CHECK(std::isfinite(got.y[(3 * 2 + 0) * 9 + j]));
      CHECK(std::isfinite(got.y[(1 * 2 + 1) * 9 + j]));
      CHECK(std::isnan(got.y[(2 * 2 + 1) * 9 + j]));
      CHECK(std::isnan(got.y_h[9 + j]));
    }
    node.x[(2 * 2 + 1) * 3] = std::numeric_limits<float>::infinity();
    computed(node);  // whatever comes out, nothing else happens
  }
}

TEST(recurrent_nodes_refuse_what_does_not_fit) {
  Node node = random_node(Kind(), 3, 2, 4, 5);
  node.lengths = {3, 4};
  CHECK_REFUSED(computed(node), "sequence_lens[1] is 4, but X has 3 steps");
  node.lengths = {-1, 3};
  CHECK_REFUSED(computed(node), "sequence_lens[0] is -1");
  node.lengths = {};
  node.options.clip = -1.0f;
  CHECK_REFUSED(made(node), "clip must not be below 0");
  node.options.hidden = 0;
  CHECK_REFUSED(made(node), "hidden_size must be");

  const std::vector<float> weight(20 * 5);
  RecurrentOptions options;
  options.hidden = 5;
  const auto with = [&](std::size_t rows, std::size_t cols) {
    std::vector<RecurrentWeights> weights;
    weights.push_back({std::make_unique<NaiveMatrix>(20, 4, weight.data()),
                       std::make_unique<NaiveMatrix>(rows, cols, weight.data())});
    Recurrent(options, std::move(weights));
  };
  with(20, 5);
  CHECK_REFUSED(with(20, 4), "R is a matrix [20, 4], but the node needs [20, 5]");
  CHECK_REFUSED(with(15, 5), "R is a matrix [15, 5]");
  options.reverse = {false, true};
  CHECK_REFUSED(with(20, 5), "one pair of weights a direction");
}

TEST(recurrent_nodes_refuse_more_sequences_than_memory_holds) {
  Node node = random_node(Kind(), 0, 0, 0, 5);
  RecurrentInputs inputs;
  inputs.steps = 0;
  inputs.batch = std::size_t{1} << 60;  // of no inputs, so that X has no bytes
  CHECK_REFUSED(made(node).run(inputs, {}, Parallel()), "X has more sequences than memory can hold");
}

}  // namespace
