#include <cstddef>

namespace dtc {
namespace {

/// As many floats as the compiler likes to keep together.
template <std::size_t count>
struct Floats {
  struct Type {
    float lane[count];
  };
  static constexpr std::size_t lanes = count;
  static Type zero() { return {}; }
  static Type load(const float* from) {
    Type out;
    for (std::size_t i = 0; i < count; ++i) out.lane[i] = from[i];
    return out;
  }
  static void store(float* to, const Type& a) {
    for (std::size_t i = 0; i < count; ++i) to[i] = a.lane[i];
  }
  static Type multiply_add(const Type& a, const Type& b, Type sum) {
    for (std::size_t i = 0; i < count; ++i) sum.lane[i] += a.lane[i] * b.lane[i];
    return sum;
  }
  static float sum(const Type& a) {
    float out = 0;
    for (const float lane : a.lane) out += lane;
    return out;
  }
};

using One = Floats<1>;
using Two = Floats<2>;
using Four = Floats<4>;
using Many = Floats<8>;

}  // namespace
}  // namespace dtc

#include "kernels/codebook_impl.h"

namespace dtc {

extern const CodebookKernels codebook_scalar;
const CodebookKernels codebook_scalar = {{codebook_decode, codebook_multiply}, {nullptr, nullptr}};

}  // namespace dtc
