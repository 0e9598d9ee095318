// An operator as data, and what its functions are given; ONNX Runtime itself appears in ort.cc alone.
#ifndef DTC_ORT_OPERATOR_H_
#define DTC_ORT_OPERATOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "forms/inputs.h"
#include "forms/parallel.h"

namespace dtc {

using Shape = std::vector<std::int64_t>;

/// The attributes of a node.
class Attributes {
 public:
  virtual ~Attributes() = default;

  /// Throws Error if the node has no such attribute of that type, unless there is a fallback.
  virtual std::int64_t integer(const char* name) const = 0;
  virtual std::int64_t integer(const char* name, std::int64_t fallback) const = 0;
  virtual float real(const char* name, float fallback) const = 0;
  virtual std::string string(const char* name, const char* fallback) const = 0;
};

/// A node when its session is made.
class Node : public Attributes {
 public:
  virtual std::size_t input_count() const = 0;

  /// The input if its value is known already and lives as long as the session; absent if not.
  virtual std::optional<Tensor> constant(std::size_t index) const = 0;
};

/// The `count` inputs from `first` on, if all are known when the session is made.
std::optional<Arrays> constants(const Node& node, std::size_t first, std::size_t count);

/// A node when it runs.
class Run {
 public:
  virtual ~Run() = default;

  virtual std::size_t input_count() const = 0;

  /// Not present where the node leaves an optional input out.
  virtual Tensor input(std::size_t index) const = 0;

  /// Where to write the float output of that shape; null if nothing wants it.
  virtual float* output(std::size_t index, const Shape& shape) = 0;

  virtual Parallel parallel() const = 0;
};

/// A dimension before a model runs: its size, or its name, or neither.
struct Dim {
  std::int64_t size = -1;
  std::string name;

  bool known() const { return size >= 0 || !name.empty(); }
};

using Dims = std::vector<Dim>;

/// The `count` inputs from `first` on.
Arrays inputs(const Run& run, std::size_t first, std::size_t count);

/// A node whose outputs' shapes are asked for.
class Inference {
 public:
  virtual ~Inference() = default;

  /// The dimensions of an input, none if not even their number is known or the input is left out.
  virtual std::optional<Dims> input(std::size_t index) const = 0;

  /// None if there is no such integer.
  virtual std::optional<std::int64_t> integer(const char* name) const = 0;

  /// None if there is no such string, or it has more than 62 characters.
  virtual std::optional<std::string> string(const char* name) const = 0;

  /// Tells an output's dimensions; nothing is told unless all are known.
  virtual void output(std::size_t index, const Dims& dims) = 0;
};

/// A node's work; made once a session, and run by many threads at once.
class Kernel {
 public:
  virtual ~Kernel() = default;

  /// Throws Error if the inputs do not fit.
  virtual void compute(Run& run) const = 0;
};

/// An input of an operator. With `Type::none` it may have one of several types, which the kernel checks; ONNX Runtime
/// lists every type that there is for each of those in each session, which took 20 ms when all were such.
struct Input {
  Type type = Type::none;
  bool required = true;
};

/// An operator of the domain `dtc`.
struct Operator {
  std::string name;
  std::vector<Input> inputs;
  std::vector<bool> output_required;                           ///< of each output; all are float
  std::function<std::unique_ptr<Kernel>(const Node&)> create;  ///< throws Error if the node cannot be run
  std::function<void(Inference&)> infer;
};

/// All operators of the library.
const std::vector<Operator>& operators();

}  // namespace dtc

#endif  // DTC_ORT_OPERATOR_H_
