#include "ort/operator.h"

namespace dtc {

std::optional<Arrays> constants(const Node& node, std::size_t first, std::size_t count) {
  Arrays arrays;
  for (std::size_t index = 0; index < count; ++index) {
    const auto array = node.constant(first + index);
    if (!array) return std::nullopt;
    arrays.push_back(*array);
  }
  return arrays;
}

Arrays inputs(const Run& run, std::size_t first, std::size_t count) {
  Arrays arrays;
  for (std::size_t index = 0; index < count; ++index) arrays.push_back(run.input(first + index));
  return arrays;
}

}  // namespace dtc
