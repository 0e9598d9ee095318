#include "forms/inputs.h"

#include <algorithm>

namespace dtc {

std::size_t size_of(Type type) {
  switch (type) {
    case Type::u8:
    case Type::i8:
      return 1;
    case Type::u16:
    case Type::i16:
    case Type::f16:
      return 2;
    case Type::i64:
    case Type::u64:
      return 8;
    default:
      return 4;
  }
}

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
