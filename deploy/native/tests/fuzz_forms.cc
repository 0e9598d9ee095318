#include "tests/fuzz_forms.h"

namespace dtc::testing {
namespace {

/// A weight [directions * rows, cols] of one form.
struct Weight {
  std::vector<Array> arrays;
  std::map<std::string, std::int64_t> integers;
};

struct Extent {
  std::size_t rows, cols, directions = 1;
  std::size_t all_rows() const { return rows * directions; }
};

std::int64_t dim(std::size_t size) { return static_cast<std::int64_t>(size); }

std::size_t some_size(Source& source) {
  if (source.chance(3)) return 0;
  if (source.chance(70)) return 1 + source.below(20);
  return source.chance(80) ? 1 + source.below(140) : 1 + source.below(1200);
}

Array indices(Source& source, const std::vector<std::uint32_t>& values, std::uint32_t largest) {
  const Shape shape = {dim(values.size())};
  const unsigned least = largest < 256 ? 0 : largest < 65536 ? 1 : 2;
  switch (std::max<std::uint64_t>(least, source.below(3))) {
    case 0:
      return Array(Type::u8, shape, std::vector<std::uint8_t>(values.begin(), values.end()));
    case 1:
      return Array(Type::u16, shape, std::vector<std::uint16_t>(values.begin(), values.end()));
    default:
      return Array(Type::u32, shape, values);
  }
}

Weight sparse(Source& source, const Extent& extent) {
  const unsigned kept = source.pick({0U, 2U, 10U, 50U, 100U});
  std::mt19937_64 noise = source.noise();
  std::vector<std::uint32_t> columns, pointers = {0};
  for (std::size_t row = 0; row < extent.all_rows(); ++row) {
    for (std::uint32_t column = 0; column < extent.cols; ++column) {
      if (noise() % 100 < kept) columns.push_back(column);
    }
    pointers.push_back(static_cast<std::uint32_t>(columns.size()));
  }
  Weight weight;
  weight.arrays.push_back(real_array(source, {dim(columns.size())}, source.chance(30)));
  weight.arrays.push_back(indices(source, columns, static_cast<std::uint32_t>(extent.cols)));
  weight.arrays.push_back(indices(source, pointers, pointers.back()));
  weight.integers["cols"] = dim(extent.cols);
  return weight;
}

Weight bitmap(Source& source, const Extent& extent) {
  const std::size_t stride = (extent.cols + 7) / 8;
  std::vector<std::uint8_t> bits = integers<std::uint8_t>(source, extent.all_rows() * stride, 256);
  std::size_t set = 0;
  for (std::size_t index = 0; index < bits.size(); ++index) {
    if (extent.cols % 8 != 0 && index % stride == stride - 1) {
      bits[index] = static_cast<std::uint8_t>(bits[index] & ((1U << extent.cols % 8) - 1));
    }
    set += static_cast<std::size_t>(__builtin_popcount(bits[index]));
  }
  Weight weight;
  weight.arrays.push_back(real_array(source, {dim(set)}, source.chance(30)));
  weight.arrays.emplace_back(Type::u8, Shape{dim(extent.all_rows()), dim(stride)}, bits);
  weight.integers["cols"] = dim(extent.cols);
  return weight;
}

/// In blocks, [D, planes, rows * bytes] and [D, terms, groups, rows], or row after row.
Weight binary(Source& source, const Extent& extent, bool blocked, bool stacked) {
  const std::size_t bits = 1 + source.below(8), bytes = (extent.cols + 7) / 8;
  const std::size_t group = source.chance(50) ? std::max<std::size_t>(8, 8 * bytes) : 8 * (1 + source.below(10));
  const std::int64_t groups = dim(extent.cols == 0 ? 0 : (extent.cols - 1) / group + 1);
  const std::int64_t planes = dim(bits + (bits < 8 && source.chance(40) ? 1 : 0));
  const std::int64_t terms = dim(bits + (source.chance(40) ? 1 : 0)), rows = dim(extent.rows);
  Shape codes = blocked ? Shape{planes, dim(extent.rows * bytes)} : Shape{planes, rows, dim(bytes)};
  Shape alphas = blocked ? Shape{terms, groups, rows} : Shape{terms, rows, groups};
  if (stacked) {
    codes.insert(codes.begin(), dim(extent.directions));
    alphas.insert(alphas.begin(), dim(extent.directions));
  }
  Weight weight;
  Array packed(Type::u8, codes);
  weight.arrays.emplace_back(Type::u8, codes, integers<std::uint8_t>(source, packed.bytes(), 256));
  weight.arrays.push_back(real_array(source, alphas, source.chance(50)));
  weight.integers = {{"bits", dim(bits)}, {"group_size", dim(group)}, {"in_features", dim(extent.cols)}};
  weight.integers["accuracy_level"] = source.pick<std::int64_t>({0, 1, 4});
  return weight;
}

Weight codebook(Source& source, const Extent& extent) {
  const std::size_t bits = std::size_t{1} << source.below(4), block = 1 + source.below(20);
  const std::size_t blocks = (extent.cols + block - 1) / block, bytes = (blocks * bits + 7) / 8;
  const std::size_t most = std::size_t{1} << bits, count = source.chance(60) ? most : 1 + source.below(most);
  const std::vector<std::uint8_t> packed = integers<std::uint8_t>(source, extent.all_rows() * bytes, 256);
  Weight weight;
  weight.arrays.emplace_back(Type::u8, Shape{dim(extent.all_rows()), dim(bytes)}, packed);
  weight.arrays.push_back(real_array(source, {dim(count), dim(block)}, false));
  weight.integers = {{"bits", dim(bits)}, {"columns", dim(extent.cols)}};
  return weight;
}

Weight dense(Source& source, const Extent& extent) {
  Weight weight;
  weight.arrays.push_back(real_array(source, {dim(extent.directions), dim(extent.rows), dim(extent.cols)}, false));
  return weight;
}

Weight low_rank(Source& source, const Extent& extent) {
  const std::int64_t rank = dim(1 + source.below(9)), directions = dim(extent.directions);
  Weight weight;
  weight.arrays.push_back(real_array(source, {directions, dim(extent.rows), rank}, false));
  weight.arrays.push_back(real_array(source, {directions, rank, dim(extent.cols)}, false));
  return weight;
}

bool begins(const std::string& text, const std::string& with) { return text.compare(0, with.size(), with) == 0; }
bool ends(const std::string& text, const std::string& with) {
  return text.size() >= with.size() && text.compare(text.size() - with.size(), with.size(), with) == 0;
}

void append(Example& example, Weight weight, const std::string& prefix) {
  for (Array& array : weight.arrays) example.inputs.push_back(std::move(array));
  for (const auto& [name, value] : weight.integers) {
    example.integers[name == "accuracy_level" ? name : prefix + name] = value;
  }
}

/// Leading dimensions, few in all.
Shape some_batch(Source& source) {
  Shape shape;
  for (std::uint64_t rank = source.below(4); rank > 0; --rank) shape.push_back(dim(source.below(rank == 1 ? 41 : 4)));
  return shape;
}

Example weight_example(const std::string& name, Source& source) {
  Extent extent{some_size(source), some_size(source)};
  extent.rows = std::min(extent.rows, kMostElements / std::max<std::size_t>(extent.cols, 1));
  Example example;
  if (ends(name, "MatMul")) {
    Shape shape = some_batch(source);
    shape.push_back(dim(extent.cols));
    example.inputs.push_back(real_array(source, shape, false));
  } else if (ends(name, "Gather")) {
    Array ids(source.chance(50) ? Type::i32 : Type::i64, extent.rows == 0 ? Shape{0} : some_batch(source));
    for (std::size_t at = 0; at < ids.bytes(); at += size_of(ids.type())) {
      const auto id = dim(source.below(2 * extent.rows)) - dim(extent.rows);
      const auto narrow = static_cast<std::int32_t>(id);
      std::memcpy(ids.data() + at, ids.type() == Type::i32 ? static_cast<const void*>(&narrow) : &id,
                  size_of(ids.type()));
    }
    example.inputs.push_back(std::move(ids));
  }
  append(example,
         begins(name, "Sparse")   ? sparse(source, extent)
         : begins(name, "Bitmap") ? bitmap(source, extent)
         : begins(name, "Binary") ? binary(source, extent, ends(name, "MatMul"), false)
                                  : codebook(source, extent),
         "");
  return example;
}

Weight weight_of(const std::string& form, Source& source, const Extent& extent) {
  if (form == "sparse") return sparse(source, extent);
  if (form == "bitmap") return bitmap(source, extent);
  if (form == "binary") return binary(source, extent, true, true);
  if (form == "codebook") return codebook(source, extent);
  return form == "low_rank" ? low_rank(source, extent) : dense(source, extent);
}

/// LSTM_<w>_<r> and GRU_<w>_<r>.
Example recurrent_example(const std::string& name, Source& source) {
  const bool lstm = begins(name, "LSTM_");
  const std::size_t first = name.find('_') + 1, second = name.find('_', first);
  const std::size_t gates = lstm ? 4 : 3, hidden = 1 + source.below(source.chance(80) ? 12 : 60);
  const std::size_t inputs = source.chance(5) ? 0 : 1 + source.below(40), directions = 1 + source.below(2);
  const std::int64_t steps = dim(source.below(6)), batch = dim(source.below(source.chance(80) ? 4 : 24));
  const std::int64_t d = dim(directions), h = dim(hidden), g = dim(gates);
  const auto optional = [&](const Shape& shape) {
    return source.chance(50) ? real_array(source, shape, false) : Array();
  };
  Example example;
  example.inputs.push_back(real_array(source, {steps, batch, dim(inputs)}, false));
  example.inputs.push_back(optional({d, 2 * g * h}));
  example.inputs.emplace_back();
  if (source.chance(50)) {
    const auto lengths =
        integers<std::int32_t>(source, static_cast<std::size_t>(batch), static_cast<std::uint64_t>(steps) + 1);
    example.inputs.back() = Array(Type::i32, {batch}, lengths);
  }
  example.inputs.push_back(optional({d, batch, h}));
  if (lstm) {
    example.inputs.push_back(optional({d, batch, h}));
    example.inputs.push_back(optional({d, 3 * h}));
  }
  const Extent w{gates * hidden, inputs, directions}, r{gates * hidden, hidden, directions};
  append(example, weight_of(name.substr(first, second - first), source, w), "w_");
  append(example, weight_of(name.substr(second + 1), source, r), "r_");
  example.integers["hidden_size"] = h;
  example.integers["input_size"] = dim(inputs);
  if (source.chance(30)) example.integers["linear_before_reset"] = 1;
  if (source.chance(20)) example.reals["clip"] = 0.5F;
  if (directions == 2 || source.chance(30))
    example.strings["direction"] = directions == 2 ? "bidirectional" : "reverse";
  return example;
}

Example random_example(std::size_t inputs, Source& source) {
  Example example;
  for (std::size_t index = 0; index < inputs; ++index) {
    Shape shape;
    for (std::uint64_t rank = source.below(5); rank > 0; --rank) shape.push_back(dim(source.below(6)));
    Array array(any_type(source), shape);
    std::mt19937_64 noise = source.noise();
    for (std::size_t at = 0; at < array.bytes(); ++at) array.data()[at] = static_cast<unsigned char>(noise());
    example.inputs.push_back(std::move(array));
  }
  return example;
}

}  // namespace

Example example_of(const std::string& name, std::size_t inputs, Source& source) {
  Example example = begins(name, "LSTM_") || begins(name, "GRU_") ? recurrent_example(name, source)
                    : ends(name, "MatMul") || ends(name, "Gather") || ends(name, "Dequantize")
                        ? weight_example(name, source)
                        : random_example(inputs, source);
  example.name = name;
  return example;
}

}  // namespace dtc::testing
