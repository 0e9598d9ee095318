// What an operator is given, as plain views; nothing here knows ONNX Runtime.
#ifndef DTC_FORMS_INPUTS_H_
#define DTC_FORMS_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

namespace dtc {

/// What is wrong with a model's node; becomes an error status of ONNX Runtime.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Element types, by ONNX's own numbers.
enum class Type : int {
  none = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  f16 = 10,
  u32 = 12,
  u64 = 13
};

/// Bytes of an element; 4 for types that no array of an operator has.
std::size_t size_of(Type type);

/// An array of the model; absent where `data` and `shape` are empty and `type` is none.
struct Tensor {
  Type type = Type::none;
  std::vector<std::int64_t> shape;
  const void* data = nullptr;
  std::size_t count = 0;  ///< product of the shape

  bool present() const { return type != Type::none; }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

using Arrays = std::vector<Tensor>;

/// Throws Error("<name> ...") unless the tensor is there, of one of the types, and of that many dimensions.
void require(const Tensor& tensor, const char* name, std::initializer_list<Type> types, std::size_t rank);

/// Throws Error(message) unless the condition holds.
inline void require(bool condition, const std::string& message) {
  if (!condition) throw Error(message);
}

/// The shape as it is written in messages, e.g. "[2, 3]".
std::string text(const std::vector<std::int64_t>& shape);

}  // namespace dtc

#endif  // DTC_FORMS_INPUTS_H_
