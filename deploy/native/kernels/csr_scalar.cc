// The sparse kernels in plain C++.
#include "kernels/csr.h"
#include "kernels/half.h"

namespace dtc {
namespace {

#define DTC_CSR_INLINE inline

constexpr std::size_t kAhead = 0;

void prefetch(const void*) {}

struct Half {
  std::uint16_t bits;
};

float single(float value) { return value; }
float single(Half value) { return float_of_half(value.bits); }

struct Lanes {
  static constexpr std::size_t size = 8;
  float v[kCsrLanes];

  static Lanes zero() { return {}; }
  static Lanes load(const float* p) { return values(p); }
  static Lanes lowest(float f) { return {{f, 0, 0, 0, 0, 0, 0, 0}}; }
  template <typename Value>
  static Lanes all(const Value* p) {
    const float f = single(*p);
    return {{f, f, f, f, f, f, f, f}};
  }
  template <typename Value>
  static Lanes values(const Value* p) {
    Lanes lanes;
    for (std::size_t i = 0; i < kCsrLanes; ++i) lanes.v[i] = single(p[i]);
    return lanes;
  }
  template <typename Column>
  static Lanes gather(const float* x, const Column* columns) {
    Lanes lanes;
    for (std::size_t i = 0; i < kCsrLanes; ++i) lanes.v[i] = x[columns[i]];
    return lanes;
  }

  void store(float* p) const {
    for (std::size_t i = 0; i < kCsrLanes; ++i) p[i] = v[i];
  }
  Lanes first(std::size_t n) const {
    Lanes lanes;
    for (std::size_t i = 0; i < kCsrLanes; ++i) lanes.v[i] = i < n ? v[i] : 0.0f;
    return lanes;
  }
  float sum() const { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
};

Lanes mul(const Lanes& a, const Lanes& b) {
  Lanes lanes;
  for (std::size_t i = 0; i < kCsrLanes; ++i) lanes.v[i] = a.v[i] * b.v[i];
  return lanes;
}
Lanes add(const Lanes& a, const Lanes& b) {
  Lanes lanes;
  for (std::size_t i = 0; i < kCsrLanes; ++i) lanes.v[i] = a.v[i] + b.v[i];
  return lanes;
}
Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) { return add(mul(a, b), c); }

struct Four {
  using Wide = Lanes;
  float v[4];

  template <typename Value>
  static Four values(const Value* p) {
    return {{single(p[0]), single(p[1]), single(p[2]), single(p[3])}};
  }
  template <int i>
  Lanes all() const {
    return Lanes::all(v + i);
  }
};

template <typename Column>
void widen16(const std::uint8_t* from, std::size_t base, Column* to) {
  for (std::size_t i = 0; i < 16; ++i) to[i] = static_cast<Column>(base + from[i]);
}

void transpose(const float* const* from, std::size_t count, float* to, std::size_t stride) {
  for (std::size_t c = 0; c < count; ++c)
    for (std::size_t j = 0; j < kCsrLanes; ++j) to[c * stride + j] = from[j][c];
}

template <std::size_t vectors>
using FourOf = Four;

#include "kernels/csr_impl.h"

}  // namespace

const CsrKernels csr_kernels_scalar[kCsrValues][kCsrColumns] = {DTC_CSR_KERNELS(float), DTC_CSR_KERNELS(Half)};

}  // namespace dtc
