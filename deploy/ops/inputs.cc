#include "inputs.h"

#include <algorithm>

namespace dtc {

std::string text(const std::vector<std::int64_t>& shape) {
  std::string out = "[";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (axis != 0) out += ", ";
    out += std::to_string(shape[axis]);
  }
  return out + "]";
}

void require(const Tensor& tensor, const char* name, std::initializer_list<Type> types, std::size_t rank) {
  require(tensor.present(), std::string(name) + " is missing");
  require(std::find(types.begin(), types.end(), tensor.type) != types.end(),
          std::string(name) + " has element type " + std::to_string(static_cast<int>(tensor.type)) +
              ", which this operator does not take");
  require(tensor.shape.size() == rank, std::string(name) + " has shape " + text(tensor.shape) + ", but " +
                                           std::to_string(rank) + " dimensions are needed");
}

}  // namespace dtc
