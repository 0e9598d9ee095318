#include "ort/register.h"

namespace dtc {

const std::vector<Operator>& operators() {
  static const std::vector<Operator> all = [] {
    std::vector<Operator> found;
    for (const auto group : {binary_operators, codebook_operators, sparse_operators, recurrent_operators}) {
      for (Operator& op : group()) found.push_back(std::move(op));
    }
    return found;
  }();
  return all;
}

}  // namespace dtc
