#include "forms/recurrent_direction.h"

#include <algorithm>
#include <cstring>

#include "forms/pieces.h"
#include "kernels/cells.h"

namespace dtc {
namespace {

// The input's share of the gates is computed for so many numbers at once: enough rows for a matrix product at full
// speed, few enough to be in the cache when the steps read them.
constexpr std::size_t kGivenNumbers = std::size_t{1} << 20;

// What a number of the state costs a cell, in microseconds: 1.4 for 650 of them (AVX2, Zen 3).
constexpr double kMicrosecondsPerState = 0.0022;

std::unique_ptr<float[]> scratch(std::size_t rows, std::size_t cols) {
  return std::unique_ptr<float[]>(new float[rows * cols]);
}

}  // namespace

RecurrentDirection::RecurrentDirection(const RecurrentOptions& options, const RecurrentWeights& weights,
                                       const Sequences& sequences, const RecurrentInputs& inputs, std::size_t index)
    : options_(options),
      weights_(weights),
      sequences_(sequences),
      inputs_(inputs),
      index_(index),
      hidden_(options.hidden),
      rows_(options.gates() * options.hidden),
      reverse_(options.reverse[index]),
      at_rest_(inputs.initial_h == nullptr),
      peepholes_(inputs.peepholes == nullptr ? nullptr : inputs.peepholes + index * 3 * hidden_),
      bias_(scratch(1, rows_ + hidden_)),
      h_(scratch(sequences.batch(), hidden_)),
      recurrent_(scratch(sequences.batch(), rows_)) {
  load_bias(inputs.bias);
  load_state(inputs.initial_h, h_.get());
  if (options.cell == RecurrentOptions::Cell::lstm) {
    c_ = scratch(sequences.batch(), hidden_);
    load_state(inputs.initial_c, c_.get());
  } else {
    z_ = scratch(sequences.batch(), hidden_);
    scaled_ = scratch(sequences.batch(), hidden_);
  }
}

void RecurrentDirection::load_bias(const float* bias) {
  std::fill_n(bias_.get(), rows_ + hidden_, 0.0f);
  if (bias == nullptr) return;
  const float *given = bias + index_ * 2 * rows_, *recurrent = given + rows_;
  for (std::size_t row = 0; row < rows_; ++row) bias_[row] = given[row] + recurrent[row];
  if (!options_.linear_before_reset || options_.cell == RecurrentOptions::Cell::lstm) return;
  const std::size_t candidate = 2 * hidden_;  // its recurrent bias is scaled by the reset gate
  std::copy_n(given + candidate, hidden_, bias_.get() + candidate);
  std::copy_n(recurrent + candidate, hidden_, bias_.get() + rows_);
}

void RecurrentDirection::load_state(const float* initial, float* state) const {
  const std::size_t batch = sequences_.batch();
  if (initial == nullptr) {
    std::fill_n(state, batch * hidden_, 0.0f);
    return;
  }
  for (std::size_t row = 0; row < batch; ++row) {
    std::copy_n(initial + (index_ * batch + sequences_.place(row)) * hidden_, hidden_, state + row * hidden_);
  }
}

void RecurrentDirection::store_state(const float* state, float* out) const {
  const std::size_t batch = sequences_.batch();
  if (out == nullptr) return;
  for (std::size_t row = 0; row < batch; ++row) {
    float* to = out + (index_ * batch + sequences_.place(row)) * hidden_;
    if (inputs_.lengths != nullptr && sequences_.length(row) == 0) {
      std::fill_n(to, hidden_, 0.0f);
    } else {
      std::copy_n(state + row * hidden_, hidden_, to);
    }
  }
}

void RecurrentDirection::run(const RecurrentOutputs& outputs, const Parallel& parallel) {
  std::size_t end = 0;
  for (std::size_t begin = 0; begin < sequences_.longest(); begin = end) {
    end = end_of_chunk(begin);
    project(begin, end, parallel);
    const float* given = given_.get();
    for (std::size_t step = begin; step < end; ++step) {
      const std::size_t running = sequences_.running(step);
      if (options_.cell == RecurrentOptions::Cell::lstm) {
        lstm_step(given, running, parallel);
      } else {
        gru_step(given, running, parallel);
      }
      at_rest_ = false;
      if (outputs.y != nullptr) write_step(step, running, outputs.y);
      given += running * rows_;
    }
  }
  if (outputs.y != nullptr) write_zeros(outputs.y);
  store_state(h_.get(), outputs.y_h);
  if (c_ != nullptr) store_state(c_.get(), outputs.y_c);
}

std::size_t RecurrentDirection::end_of_chunk(std::size_t step) const {
  const std::size_t most = std::max<std::size_t>(1, kGivenNumbers / rows_);
  std::size_t count = sequences_.running(step);
  for (++step; step < sequences_.longest(); ++step) {
    count += sequences_.running(step);
    if (count > most) break;
  }
  return step;
}

/// The step of X that a sequence reads at a step: each runs backwards from its own end.
std::size_t RecurrentDirection::time(std::size_t sequence, std::size_t step) const {
  return reverse_ ? sequences_.length(sequence) - 1 - step : step;
}

void RecurrentDirection::project(std::size_t begin, std::size_t end, const Parallel& parallel) {
  const std::size_t batch = sequences_.batch(), width = weights_.input->cols();
  std::size_t count = 0;
  for (std::size_t step = begin; step < end; ++step) count += sequences_.running(step);
  given_ = scratch(count, rows_);
  if (!reverse_ && sequences_.full()) {
    weights_.input->multiply(inputs_.x + begin * batch * width, count, given_.get(), parallel);
    return;
  }
  const Array gathered = scratch(count, width);
  float* to = gathered.get();
  for (std::size_t step = begin; step < end; ++step) {
    for (std::size_t row = 0, running = sequences_.running(step); row < running; ++row, to += width) {
      std::copy_n(inputs_.x + (time(row, step) * batch + sequences_.place(row)) * width, width, to);
    }
  }
  weights_.input->multiply(gathered.get(), count, given_.get(), parallel);
}

template <typename Body>
void RecurrentDirection::each_row(std::size_t running, const Parallel& parallel, const Body& body) const {
  const std::size_t most = pieces_for(kMicrosecondsPerState * static_cast<double>(running * hidden_));
  const std::size_t pieces = std::min(most, running);
  parallel(pieces, [&](std::size_t piece) {
    const Range range = part_of(running, pieces, piece);
    for (std::size_t row = range.begin; row < range.end; ++row) body(row);
  });
}

/// The recurrent share of the gates. Where a node has no initial state, the first step needs no product.
void RecurrentDirection::recall(const float* state, std::size_t running, const Parallel& parallel) {
  if (at_rest_) {
    std::fill_n(recurrent_.get(), running * rows_, 0.0f);
  } else {
    weights_.recurrent->multiply(state, running, recurrent_.get(), parallel);
  }
}

void RecurrentDirection::lstm_step(const float* given, std::size_t running, const Parallel& parallel) {
  recall(h_.get(), running, parallel);
  const kernels::Cells& cells = kernels::cells();
  each_row(running, parallel, [&](std::size_t row) {
    const std::size_t gates = row * rows_, state = row * hidden_;
    cells.lstm(
        {hidden_, given + gates, &recurrent_[gates], bias_.get(), peepholes_, options_.clip, &c_[state], &h_[state]});
  });
}

void RecurrentDirection::gru_step(const float* given, std::size_t running, const Parallel& parallel) {
  const kernels::Cells& cells = kernels::cells();
  const bool linear = options_.linear_before_reset;
  const std::size_t candidate = 2 * hidden_;
  const auto row_of = [&](std::size_t row) {
    const std::size_t gates = row * rows_, state = row * hidden_;
    float *h = &h_[state], *scaled = &scaled_[state];
    const float* recurrent = &recurrent_[gates];
    return kernels::GruRow{hidden_,
                           given + gates,
                           recurrent,
                           bias_.get(),
                           linear ? recurrent + candidate : h,
                           &bias_[rows_],
                           options_.clip,
                           &z_[state],
                           scaled,
                           linear ? scaled : recurrent + candidate,
                           h};
  };
  recall(h_.get(), running, parallel);
  each_row(running, parallel, [&](std::size_t row) { cells.gru_reset(row_of(row)); });
  // Without linear_before_reset the candidate's rows meet another vector than the gates' rows. They are a third of R,
  // but a coded matrix cannot be cut at any row, so all of R is multiplied again. Such GRUs are rare: neither PyTorch
  // nor Keras makes them by default.
  if (!linear) recall(scaled_.get(), running, parallel);
  each_row(running, parallel, [&](std::size_t row) { cells.gru_update(row_of(row)); });
}

void RecurrentDirection::write_step(std::size_t step, std::size_t running, float* y) const {
  const std::size_t directions = options_.reverse.size(), batch = sequences_.batch();
  for (std::size_t row = 0; row < running; ++row) {
    const std::size_t at = (time(row, step) * directions + index_) * batch + sequences_.place(row);
    std::copy_n(&h_[row * hidden_], hidden_, y + at * hidden_);
  }
}

void RecurrentDirection::write_zeros(float* y) const {
  if (sequences_.full()) return;
  const std::size_t directions = options_.reverse.size(), batch = sequences_.batch();
  for (std::size_t row = 0; row < batch; ++row) {
    for (std::size_t time = sequences_.length(row); time < sequences_.steps(); ++time) {
      std::fill_n(y + ((time * directions + index_) * batch + sequences_.place(row)) * hidden_, hidden_, 0.0f);
    }
  }
}

}  // namespace dtc
