// The cells of LSTM and GRU: what is done with the gates of one row of the batch at one step.
#ifndef DTC_KERNELS_CELLS_H_
#define DTC_KERNELS_CELLS_H_

#include <cstddef>

namespace dtc::kernels {

/// One row of an LSTM at one step; gates in the order i, o, f, c.
struct LstmRow {
  std::size_t hidden;
  const float* given;      ///< [4 * hidden]: the gates' share of the input
  const float* recurrent;  ///< [4 * hidden]: the gates' share of the state before
  const float* bias;       ///< [4 * hidden]
  const float* peepholes;  ///< [3 * hidden], in the order i, o, f; null: none
  float clip;              ///< what goes into a gate's activation is cut to [-clip, clip]; infinity: it is not
  float* c;                ///< [hidden]: in place
  float* h;                ///< [hidden]: written
};

/// One row of a GRU at one step; gates in the order z, r, h. A step is `reset`, then `update`.
struct GruRow {
  std::size_t hidden;
  const float* given;        ///< [3 * hidden]
  const float* recurrent;    ///< [3 * hidden]; `update` reads none of it
  const float* bias;         ///< [3 * hidden]
  const float* operand;      ///< [hidden]: what the reset gate scales
  const float* hidden_bias;  ///< [hidden]: added to the operand before
  float clip;
  float* z;           ///< [hidden]: written by `reset`, read by `update`
  float* scaled;      ///< [hidden]: written by `reset`
  const float* term;  ///< [hidden]: read by `update`, the recurrent share of the candidate
  float* h;           ///< [hidden]: by `update`, in place
};

/// Activations have a relative error of about 2e-7 (tests/cells_test.cc), and hand on what is not a number.
struct Cells {
  /// c = f c + i g and h = o tanh(c), of gates behind their activations.
  void (*lstm)(const LstmRow& row);
  /// z, and scaled = r * (operand + hidden_bias).
  void (*gru_reset)(const GruRow& row);
  /// h = (1 - z) tanh(given + term + bias) + z h.
  void (*gru_update)(const GruRow& row);
  /// The activations alone, of `count` numbers.
  void (*sigmoid)(const float* x, float* y, std::size_t count);
  void (*tanh)(const float* x, float* y, std::size_t count);
};

/// Those of the best instructions there are.
const Cells& cells();

}  // namespace dtc::kernels

#endif  // DTC_KERNELS_CELLS_H_
