// The reference, and a check of it by numbers worked out by hand.
#include "tests/recurrent_reference.h"

#include <algorithm>
#include <cmath>

#include "tests/check.h"

namespace dtc::testing {
namespace {

/// One sequence of one direction.
class Walk {
 public:
  Walk(const Node& node, std::size_t direction, std::size_t row)
      : node_(node), direction_(direction), row_(row), hidden_(node.options.hidden), gates_(node.options.gates()) {
    h_ = state(node.initial_h);
    c_ = state(node.initial_c);
  }

  void step(std::size_t time) {
    if (node_.options.cell == RecurrentOptions::Cell::lstm) {
      lstm(time);
    } else {
      gru(time);
    }
  }

  const std::vector<double>& h() const { return h_; }
  const std::vector<double>& c() const { return c_; }

 private:
  std::vector<double> state(const std::vector<float>& initial) const {
    std::vector<double> out(hidden_, 0.0);
    if (initial.empty()) return out;
    const std::size_t at = (direction_ * node_.batch + row_) * hidden_;
    std::copy_n(initial.begin() + static_cast<std::ptrdiff_t>(at), hidden_, out.begin());
    return out;
  }

  double given(std::size_t gate, std::size_t j, std::size_t time) const {
    const std::size_t row = (direction_ * gates_ + gate) * hidden_ + j;
    double sum = 0;
    for (std::size_t i = 0; i < node_.inputs; ++i) {
      sum += double{node_.w[row * node_.inputs + i]} * double{node_.x[(time * node_.batch + row_) * node_.inputs + i]};
    }
    return sum;
  }

  double recalled(std::size_t gate, std::size_t j, const std::vector<double>& state) const {
    const std::size_t row = (direction_ * gates_ + gate) * hidden_ + j;
    double sum = 0;
    for (std::size_t i = 0; i < hidden_; ++i) sum += double{node_.r[row * hidden_ + i]} * state[i];
    return sum;
  }

  double bias(std::size_t part, std::size_t gate, std::size_t j) const {
    if (node_.bias.empty()) return 0;
    return double{node_.bias[((direction_ * 2 + part) * gates_ + gate) * hidden_ + j]};
  }

  double peephole(std::size_t gate, std::size_t j) const {
    return node_.peepholes.empty() ? 0 : double{node_.peepholes[(direction_ * 3 + gate) * hidden_ + j]};
  }

  double clip(double v) const {
    const double limit = double{node_.options.clip};
    return std::fmax(-limit, std::fmin(limit, v));
  }

  double f(double v) const { return 1 / (1 + std::exp(-clip(v))); }
  double g(double v) const { return std::tanh(clip(v)); }

  double all(std::size_t gate, std::size_t j, std::size_t time, const std::vector<double>& h) const {
    return given(gate, j, time) + recalled(gate, j, h) + bias(0, gate, j) + bias(1, gate, j);
  }

  void lstm(std::size_t time) {
    const std::vector<double> before = h_;
    for (std::size_t j = 0; j < hidden_; ++j) {
      const double i = f(all(0, j, time, before) + peephole(0, j) * c_[j]);
      const double forget = f(all(2, j, time, before) + peephole(2, j) * c_[j]);
      c_[j] = forget * c_[j] + i * g(all(3, j, time, before));
      h_[j] =
          f(all(1, j, time, before) + peephole(1, j) * c_[j]) * std::tanh(c_[j]);  // not clipped, as in ONNX Runtime
    }
  }

  void gru(std::size_t time) {
    const std::vector<double> before = h_;
    std::vector<double> reset(hidden_), scaled(hidden_);
    for (std::size_t j = 0; j < hidden_; ++j) {
      reset[j] = f(all(1, j, time, before));
      scaled[j] = reset[j] * before[j];
    }
    for (std::size_t j = 0; j < hidden_; ++j) {
      const double z = f(all(0, j, time, before));
      const double term = node_.options.linear_before_reset ? reset[j] * (recalled(2, j, before) + bias(1, 2, j))
                                                            : recalled(2, j, scaled) + bias(1, 2, j);
      h_[j] = (1 - z) * g(given(2, j, time) + term + bias(0, 2, j)) + z * before[j];
    }
  }

  const Node& node_;
  std::size_t direction_, row_, hidden_, gates_;
  std::vector<double> h_, c_;
};

}  // namespace

Outputs reference(const Node& node) {
  const std::size_t directions = node.options.reverse.size(), hidden = node.options.hidden;
  Outputs out;
  out.y.assign(node.steps * directions * node.batch * hidden, 0.0);
  out.y_h.assign(directions * node.batch * hidden, 0.0);
  out.y_c = out.y_h;
  for (std::size_t d = 0; d < directions; ++d) {
    for (std::size_t row = 0; row < node.batch; ++row) {
      const std::size_t length = node.lengths.empty() ? node.steps : static_cast<std::size_t>(node.lengths[row]);
      Walk walk(node, d, row);
      for (std::size_t step = 0; step < length; ++step) {
        const std::size_t time = node.options.reverse[d] ? length - 1 - step : step;
        walk.step(time);
        const std::size_t at = ((time * directions + d) * node.batch + row) * hidden;
        std::copy_n(walk.h().begin(), hidden, out.y.begin() + static_cast<std::ptrdiff_t>(at));
      }
      if (length == 0 && !node.lengths.empty()) continue;  // 0, as ONNX Runtime has it
      const auto at = static_cast<std::ptrdiff_t>((d * node.batch + row) * hidden);
      std::copy_n(walk.h().begin(), hidden, out.y_h.begin() + at);
      std::copy_n(walk.c().begin(), hidden, out.y_c.begin() + at);
    }
  }
  return out;
}

TEST(reference_of_one_step_by_hand) {
  Node node;
  node.options.hidden = 1;
  node.x = {2.0f};
  node.w = {0.5f, 1.0f, -0.5f, 0.25f};  // i, o, f, c
  node.r = {0, 0, 0, 0};
  node.initial_c = {3.0f};
  const Outputs lstm = reference(node);
  const double c = 3 / (1 + std::exp(1.0)) + std::tanh(0.5) / (1 + std::exp(-1.0));
  CHECK_NEAR(lstm.y_c[0], c, 1e-12);
  CHECK_NEAR(lstm.y[0], std::tanh(c) / (1 + std::exp(-2.0)), 1e-12);
}

}  // namespace dtc::testing
