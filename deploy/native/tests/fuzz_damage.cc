#include <iterator>

#include "tests/fuzz_forms.h"

namespace dtc::testing {
namespace {

void damage_shape(Array& array, Source& source) {
  Shape shape = array.shape();
  const std::size_t axis = shape.empty() ? 0 : source.below(shape.size());
  switch (shape.empty() ? 0 : source.below(5)) {
    case 0:
      shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), static_cast<std::int64_t>(source.below(3)));
      break;
    case 1:
      shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
      break;
    case 2:
      shape[axis] = source.chance(50) ? 0 : std::max<std::int64_t>(0, shape[axis] - 1);
      break;
    case 3:
      shape[axis] = source.chance(50) ? shape[axis] + 1 : static_cast<std::int64_t>(source.below(300));
      break;
    default:
      std::swap(shape[axis], shape[0]);
  }
  std::size_t count = 1;
  for (const std::int64_t each : shape) count *= static_cast<std::size_t>(each);
  if (count <= 4 * kMostElements) array.change(array.type(), shape);
}

void damage_contents(Array& array, Source& source) {
  if (array.bytes() == 0) return;
  const std::size_t at = source.below(array.bytes());
  const std::uint64_t value = source.pick<std::uint64_t>({0, 1, 0x7f, 0x80, 0xff, ~0ULL, source.word()});
  std::memcpy(array.data() + at, &value, std::min<std::size_t>(array.bytes() - at, 1 + source.below(8)));
}

std::int64_t odd_integer(Source& source, std::int64_t before) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  switch (source.below(4)) {
    case 0:
      return static_cast<std::int64_t>(static_cast<std::uint64_t>(before) +
                                       source.pick<std::uint64_t>({~7ULL, ~0ULL, 1, 8}));
    case 1:
      return source.pick<std::int64_t>({0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 255, 256, 65536});
    case 2:
      return source.pick<std::int64_t>({-1, -8, most, most - 7, -most - 1, std::int64_t{1} << 31, std::int64_t{1} << 32,
                                        std::int64_t{1} << 40, std::int64_t{1} << 61, std::int64_t{1} << 62});
    default:
      return static_cast<std::int64_t>(source.word());
  }
}

}  // namespace

void damage(Example& example, Source& source) {
  if (example.inputs.empty()) return;
  const std::size_t index = source.below(example.inputs.size());
  Array& array = example.inputs[index];
  switch (source.below(6)) {
    case 0:
      return array.change(any_type(source), array.shape());
    case 1:
      return damage_shape(array, source);
    case 2:
    case 3:
      return damage_contents(array, source);
    case 4:
      if (source.chance(50)) std::swap(array, example.inputs[source.below(example.inputs.size())]);
      if (source.chance(10)) example.inputs.pop_back();
      if (source.chance(10)) example.strings["direction"] = source.chance(50) ? "reverse" : "sideways";
      return;
    default:
      if (example.integers.empty()) return;
      const auto attribute =
          std::next(example.integers.begin(), static_cast<std::ptrdiff_t>(source.below(example.integers.size())));
      if (source.chance(10))
        example.integers.erase(attribute);
      else
        attribute->second = odd_integer(source, attribute->second);
  }
}

}  // namespace dtc::testing
