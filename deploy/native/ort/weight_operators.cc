#include "ort/weight_operators.h"

#include <algorithm>
#include <utility>

namespace dtc {
namespace {

/// A weight made of constant arrays once, or of what arrives at each run.
template <typename Weight>
class Source {
 public:
  Source(const FormOf<Weight>& form, const Node& node, std::size_t first)
      : make_(form.bind(node)), first_(first), count_(form.arrays.size()) {
    const auto arrays = constants(node, first, count_);
    if (arrays) held_ = make_(*arrays);
  }

  /// Calls body(weight).
  template <typename Body>
  void with(const Run& run, const Body& body) const {
    if (held_) return body(*held_);
    body(*make_(inputs(run, first_, count_)));
  }

 private:
  std::function<std::unique_ptr<Weight>(const Arrays&)> make_;
  std::size_t first_, count_;
  std::unique_ptr<Weight> held_;
};

class MatMulKernel : public Kernel {
 public:
  MatMulKernel(const FormOf<Matrix>& form, const Node& node) : weight_(form, node, 1) {}

  void compute(Run& run) const override {
    const Tensor x = run.input(0);
    require(x.present() && x.type == Type::f32, "x must be a float32 tensor");
    weight_.with(run, [&](const Matrix& weight) {
      const auto cols = static_cast<std::int64_t>(weight.cols());
      require(!x.shape.empty() && x.shape.back() == cols,
              "x has shape " + text(x.shape) + ", but the weight has " + std::to_string(cols) + " columns");
      Shape shape = x.shape;
      shape.back() = static_cast<std::int64_t>(weight.rows());
      std::size_t count = 1;
      for (std::size_t axis = 0; axis + 1 < shape.size(); ++axis) count *= static_cast<std::size_t>(shape[axis]);
      float* y = run.output(0, shape);
      if (y != nullptr && count * weight.rows() != 0) weight.multiply(x.as<float>(), count, y, run.parallel());
    });
  }

 private:
  Source<Matrix> weight_;
};

/// The rows that `ids` ask for; throws Error where one is out of range.
std::vector<std::size_t> row_numbers(const Tensor& ids, std::size_t rows) {
  require(ids.present() && (ids.type == Type::i32 || ids.type == Type::i64), "ids must be int32 or int64");
  const auto limit = static_cast<std::int64_t>(rows);
  std::vector<std::size_t> numbers(ids.count);
  for (std::size_t index = 0; index < ids.count; ++index) {
    const std::int64_t id = ids.type == Type::i32 ? ids.as<std::int32_t>()[index] : ids.as<std::int64_t>()[index];
    require(-limit <= id && id < limit,
            "id " + std::to_string(id) + " is out of range for " + std::to_string(rows) + " rows");
    numbers[index] = static_cast<std::size_t>(id < 0 ? id + limit : id);
  }
  return numbers;
}

constexpr std::size_t kElementsAPiece = 1 << 16;  // some 20 us of decoding

/// Write rows, by their numbers or all in order, to out [count, cols].
template <typename Number>
void decode_rows(const Rows& weight, std::size_t count, const Number& number, float* out, const Parallel& parallel) {
  const std::size_t pieces = std::min<std::size_t>(8, 1 + count * weight.cols() / kElementsAPiece);
  parallel(pieces, [&](std::size_t piece) {
    const Range part = part_of(count, pieces, piece);
    for (std::size_t row = part.begin; row < part.end; ++row) weight.decode(number(row), out + row * weight.cols());
  });
}

class GatherKernel : public Kernel {
 public:
  GatherKernel(const FormOf<Rows>& form, const Node& node) : weight_(form, node, 1) {}

  void compute(Run& run) const override {
    const Tensor ids = run.input(0);
    weight_.with(run, [&](const Rows& weight) {
      const std::vector<std::size_t> numbers = row_numbers(ids, weight.rows());
      Shape shape = ids.shape;
      shape.push_back(static_cast<std::int64_t>(weight.cols()));
      float* out = run.output(0, shape);
      if (out == nullptr || weight.cols() == 0) return;
      decode_rows(weight, numbers.size(), [&](std::size_t index) { return numbers[index]; }, out, run.parallel());
    });
  }

 private:
  Source<Rows> weight_;
};

class DequantizeKernel : public Kernel {
 public:
  DequantizeKernel(const FormOf<Rows>& form, const Node& node) : weight_(form, node, 0) {}

  void compute(Run& run) const override {
    weight_.with(run, [&](const Rows& weight) {
      float* out = run.output(0, {static_cast<std::int64_t>(weight.rows()), static_cast<std::int64_t>(weight.cols())});
      if (out == nullptr || weight.cols() == 0) return;
      decode_rows(weight, weight.rows(), [](std::size_t row) { return row; }, out, run.parallel());
    });
  }

 private:
  Source<Rows> weight_;
};

template <typename Weight>
Extent extent_of(const FormOf<Weight>& form, const Inference& inference, std::size_t first) {
  std::vector<std::optional<Dims>> shapes;
  for (std::size_t index = 0; index < form.arrays.size(); ++index) shapes.push_back(inference.input(first + index));
  return form.extent(shapes, inference);
}

/// An operator of the inputs in front of the arrays, and those.
Operator described(std::string name, std::vector<Input> inputs, const std::vector<Type>& arrays) {
  Operator op;
  op.name = std::move(name);
  op.inputs = std::move(inputs);
  for (const Type type : arrays) op.inputs.push_back({type});
  op.output_required = {true};
  return op;
}

}  // namespace

Operator matmul(std::string name, FormOf<Matrix> form) {
  Operator op = described(std::move(name), {{Type::f32}}, form.arrays);
  op.create = [form](const Node& node) { return std::make_unique<MatMulKernel>(form, node); };
  op.infer = [form](Inference& inference) {
    std::optional<Dims> shape = inference.input(0);
    if (!shape || shape->empty()) return;
    shape->back() = extent_of(form, inference, 1).rows;
    inference.output(0, *shape);
  };
  return op;
}

Operator gather(std::string name, FormOf<Rows> form) {
  Operator op = described(std::move(name), {{}}, form.arrays);
  op.create = [form](const Node& node) { return std::make_unique<GatherKernel>(form, node); };
  op.infer = [form](Inference& inference) {
    std::optional<Dims> shape = inference.input(0);
    if (!shape) return;
    shape->push_back(extent_of(form, inference, 1).cols);
    inference.output(0, *shape);
  };
  return op;
}

Operator dequantize(std::string name, FormOf<Rows> form) {
  Operator op = described(std::move(name), {}, form.arrays);
  op.create = [form](const Node& node) { return std::make_unique<DequantizeKernel>(form, node); };
  op.infer = [form](Inference& inference) {
    const Extent extent = extent_of(form, inference, 0);
    inference.output(0, {extent.rows, extent.cols});
  };
  return op;
}

}  // namespace dtc
