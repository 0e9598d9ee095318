#include "weight_operators.h"

#include <algorithm>
#include <utility>

namespace dtc {
namespace {

/// A weight made of constant arrays once, or of what arrives at each run.
template <typename Weight>
class Source {
 public:
  Source(const FormOf<Weight>& form, const Node& node, std::size_t first) : form_(form), first_(first) {
    Arrays arrays;
    for (std::size_t index = 0; index < form.array_count; ++index) {
      const auto array = node.constant(first + index);
      if (!array) break;
      arrays.push_back(*array);
    }
    if (arrays.size() == form.array_count)
      held_ = form.make(arrays, node);
    else
      settings_ = Settings(node);
  }

  /// Calls body(weight).
  template <typename Body>
  void with(const Run& run, const Body& body) const {
    if (held_) return body(*held_);
    Arrays arrays;
    for (std::size_t index = 0; index < form_.array_count; ++index) arrays.push_back(run.input(first_ + index));
    body(*form_.make(arrays, settings_));
  }

 private:
  /// The integer attributes of a node, which is gone when it runs.
  class Settings : public Attributes {
   public:
    Settings() = default;
    explicit Settings(const Node& node) {
      for (const char* name : {"bits", "in_features", "group_size", "accuracy_level", "cols", "columns"}) {
        const std::int64_t value = node.integer(name, 0);
        if (value == node.integer(name, 1)) values_.emplace_back(name, value);  // else it is only a fallback
      }
    }
    std::int64_t integer(const char* name) const override {
      const auto found = find(name);
      require(found != values_.end(), std::string("attribute ") + name + " is missing");
      return found->second;
    }
    std::int64_t integer(const char* name, std::int64_t fallback) const override {
      const auto found = find(name);
      return found == values_.end() ? fallback : found->second;
    }
    float real(const char*, float fallback) const override { return fallback; }
    std::string string(const char*, const char* fallback) const override { return fallback; }

   private:
    using Values = std::vector<std::pair<std::string, std::int64_t>>;

    Values::const_iterator find(const char* name) const {
      return std::find_if(values_.begin(), values_.end(), [&](const auto& each) { return each.first == name; });
    }

    Values values_;
  };

  FormOf<Weight> form_;
  std::size_t first_;
  std::unique_ptr<Weight> held_;
  Settings settings_;
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
      decode_rows(
          weight, numbers.size(), [&](std::size_t index) { return numbers[index]; }, out, run.parallel());
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
      decode_rows(
          weight, weight.rows(), [](std::size_t row) { return row; }, out, run.parallel());
    });
  }

 private:
  Source<Rows> weight_;
};

template <typename Weight>
Extent extent_of(const FormOf<Weight>& form, const Inference& inference, std::size_t first) {
  std::vector<std::optional<Dims>> shapes;
  for (std::size_t index = 0; index < form.array_count; ++index) shapes.push_back(inference.input(first + index));
  return form.extent(shapes, inference);
}

Operator described(std::string name, std::size_t inputs) {
  Operator op;
  op.name = std::move(name);
  op.required.assign(inputs, true);
  op.output_required = {true};
  return op;
}

}  // namespace

Operator matmul(std::string name, FormOf<Matrix> form) {
  Operator op = described(std::move(name), 1 + form.array_count);
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
  Operator op = described(std::move(name), 1 + form.array_count);
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
  Operator op = described(std::move(name), form.array_count);
  op.create = [form](const Node& node) { return std::make_unique<DequantizeKernel>(form, node); };
  op.infer = [form](Inference& inference) {
    const Extent extent = extent_of(form, inference, 0);
    inference.output(0, {extent.rows, extent.cols});
  };
  return op;
}

}  // namespace dtc
