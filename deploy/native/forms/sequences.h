// The sequences of a batch by length: which are still running at a step.
#ifndef DTC_FORMS_SEQUENCES_H_
#define DTC_FORMS_SEQUENCES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dtc {

/// Ordered so that the sequences that run at a step are always the first ones.
class Sequences {
 public:
  /// `lengths` [batch], or null: all have `steps`. Throws Error where a length is below 0 or above `steps`.
  Sequences(std::size_t steps, std::size_t batch, const std::int32_t* lengths);

  std::size_t batch() const { return place_.size(); }
  std::size_t steps() const { return steps_; }
  /// Steps of the longest sequence.
  std::size_t longest() const { return length_.empty() ? 0 : length_[0]; }
  /// Where the `index`-th sequence, counted from the longest, stands in the batch.
  std::size_t place(std::size_t index) const { return place_[index]; }
  std::size_t length(std::size_t index) const { return length_[index]; }
  /// How many sequences are longer than `step`.
  std::size_t running(std::size_t step) const;
  /// True if all have `steps`.
  bool full() const { return length_.empty() || length_.back() == steps_; }

 private:
  std::size_t steps_;
  std::vector<std::size_t> place_, length_;
};

}  // namespace dtc

#endif  // DTC_FORMS_SEQUENCES_H_
