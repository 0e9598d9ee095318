// Where a fuzzed example comes from: decisions by the fuzzer's bytes, and tensors in memory of exactly their size.
#ifndef DTC_TESTS_FUZZ_SOURCE_H_
#define DTC_TESTS_FUZZ_SOURCE_H_

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "ort/operator.h"

namespace dtc::testing {

/// Decisions taken from bytes; all are 0 when the bytes are used up.
class Source {
 public:
  Source(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  std::uint64_t below(std::uint64_t limit) {
    std::uint64_t number = 0;
    for (std::uint64_t most = 1; most < limit; most <<= 8) number = number << 8 | byte();
    return limit == 0 ? 0 : number % limit;
  }
  bool chance(unsigned percent) { return below(100) < percent; }
  template <typename T>
  T pick(std::initializer_list<T> choices) {
    return choices.begin()[below(choices.size())];
  }
  std::uint64_t word() {
    std::uint64_t number = 0;
    for (int i = 0; i < 8; ++i) number = number << 8 | byte();
    return number;
  }
  /// For the contents of arrays, of which there is more than the fuzzer has bytes.
  std::mt19937_64 noise() { return std::mt19937_64(word()); }

 private:
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }

  const std::uint8_t* data_;
  std::size_t left_;
};

/// More elements of an array only take time.
constexpr std::size_t kMostElements = 1 << 16;

inline Type any_type(Source& source) {
  return source.pick({Type::f32, Type::u8, Type::i8, Type::u16, Type::i16, Type::i32, Type::i64, Type::f16, Type::u32,
                      Type::u64, Type::none});
}

/// A tensor whose memory ends where it does: a sanitizer sees what reads beyond.
class Array {
 public:
  Array() = default;
  Array(Type type, Shape shape) : type_(type), shape_(std::move(shape)) { renew(); }
  template <typename T>
  Array(Type type, Shape shape, const std::vector<T>& values) : Array(type, std::move(shape)) {
    const std::size_t size = std::min(bytes(), values.size() * sizeof(T));
    if (size != 0) std::memcpy(memory_.get(), values.data(), size);
  }

  Tensor view() const { return {type_, shape_, memory_.get(), count()}; }
  Type type() const { return type_; }
  const Shape& shape() const { return shape_; }
  unsigned char* data() { return memory_.get(); }
  std::size_t bytes() const { return memory_ ? count() * size_of(type_) : 0; }

  /// Keeps as much of the contents as there is room for.
  void change(Type type, Shape shape) {
    const std::unique_ptr<unsigned char[]> before = std::move(memory_);
    const std::size_t size = bytes();
    type_ = type;
    shape_ = std::move(shape);
    renew();
    if (size != 0 && bytes() != 0) std::memcpy(memory_.get(), before.get(), std::min(size, bytes()));
  }

 private:
  std::size_t count() const {
    std::size_t product = 1;
    for (const std::int64_t dim : shape_) product *= static_cast<std::size_t>(dim);
    return product;
  }
  void renew() { memory_.reset(new unsigned char[count() * size_of(type_)]()); }

  Type type_ = Type::none;
  Shape shape_;
  std::unique_ptr<unsigned char[]> memory_;
};

/// Numbers such as models have, and now and then one that they should not have.
inline std::vector<float> floats(Source& source, std::size_t count) {
  const bool odd = source.chance(10);
  std::mt19937_64 noise = source.noise();
  std::normal_distribution<float> normal;
  constexpr float inf = std::numeric_limits<float>::infinity();
  const float oddities[] = {std::numeric_limits<float>::quiet_NaN(), inf, -inf, 3e38F, -3e38F, 1e-40F, 0.0F};
  std::vector<float> values(count);
  for (float& value : values) value = odd && noise() % 16 == 0 ? oddities[noise() % 7] : normal(noise);
  return values;
}

template <typename T>
std::vector<T> integers(Source& source, std::size_t count, std::uint64_t limit) {
  std::mt19937_64 noise = source.noise();
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(noise() % limit);
  return values;
}

/// Float32, or float16 of any bits that are finite.
inline Array real_array(Source& source, Shape shape, bool half) {
  Array array(half ? Type::f16 : Type::f32, std::move(shape));
  const std::size_t count = array.view().count;
  if (!half) return Array(Type::f32, array.shape(), floats(source, count));
  std::vector<std::uint16_t> bits = integers<std::uint16_t>(source, count, 1 << 16);
  for (std::uint16_t& each : bits) each = static_cast<std::uint16_t>(each & 0xbfff);  // below 2 in size
  return Array(Type::f16, array.shape(), bits);
}

}  // namespace dtc::testing

#endif  // DTC_TESTS_FUZZ_SOURCE_H_
