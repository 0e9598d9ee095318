// The operators that every form of a weight has: a product, rows by their numbers, and the dense weight.
#ifndef DTC_ORT_WEIGHT_OPERATORS_H_
#define DTC_ORT_WEIGHT_OPERATORS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "forms/matrix.h"
#include "ort/operator.h"

namespace dtc {

/// How many rows and columns a weight has, by the dimensions of its arrays and its attributes.
struct Extent {
  Dim rows, cols;
};

/// How a weight is made of a node's arrays.
template <typename Weight>
struct FormOf {
  std::vector<Type> arrays;  ///< of each the type, or none where there are several
  /// Reads the attributes, which are gone when a node runs, and returns what makes the weight of its arrays.
  std::function<std::function<std::unique_ptr<Weight>(const Arrays&)>(const Attributes&)> bind;
  /// The dimensions of the arrays are those of the model: nothing says that they fit.
  std::function<Extent(const std::vector<std::optional<Dims>>&, const Inference&)> extent;
};

/// `name(x [..., cols], arrays...)`: x times the transposed weight, [..., rows].
Operator matmul(std::string name, FormOf<Matrix> form);

/// `name(ids [...], arrays...)`: the rows of the given numbers, [..., cols]; negative ones count from the end.
Operator gather(std::string name, FormOf<Rows> form);

/// `name(arrays...)`: the dense weight [rows, cols].
Operator dequantize(std::string name, FormOf<Rows> form);

}  // namespace dtc

#endif  // DTC_ORT_WEIGHT_OPERATORS_H_
