#include "forms/sequences.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>

#include "forms/inputs.h"

namespace dtc {

Sequences::Sequences(std::size_t steps, std::size_t batch, const std::int32_t* lengths)
    : steps_(steps), place_(batch), length_(batch, steps) {
  std::iota(place_.begin(), place_.end(), std::size_t{0});
  if (lengths == nullptr) return;
  for (std::size_t index = 0; index < batch; ++index) {
    require(lengths[index] >= 0 && static_cast<std::size_t>(lengths[index]) <= steps,
            "sequence_lens[" + std::to_string(index) + "] is " + std::to_string(lengths[index]) + ", but X has " +
                std::to_string(steps) + " steps");
  }
  const auto longer = [lengths](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; };
  std::stable_sort(place_.begin(), place_.end(), longer);
  for (std::size_t index = 0; index < batch; ++index) length_[index] = static_cast<std::size_t>(lengths[place_[index]]);
}

std::size_t Sequences::running(std::size_t step) const {
  const auto end = std::lower_bound(length_.begin(), length_.end(), step, std::greater<std::size_t>());
  return static_cast<std::size_t>(end - length_.begin());
}

}  // namespace dtc
