// The sparse kernels in AVX2, but tiles of 16 and 32 in AVX-512, which takes 0.9 of the time (Zen 5).
#include <immintrin.h>

#include "kernels/csr.h"

namespace dtc {
namespace {

#include "kernels/csr_lanes_avx2.h"

struct Lanes16 {
  static constexpr std::size_t size = 16;
  __m512 v;

  static Lanes16 zero() { return {_mm512_setzero_ps()}; }
  static Lanes16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Lanes16 all(const float* p) { return {_mm512_set1_ps(*p)}; }
  static Lanes16 all(const Half* p) { return {_mm512_set1_ps(_cvtsh_ss(*p))}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
};

Lanes16 fma(Lanes16 a, Lanes16 b, Lanes16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
Lanes16 add(Lanes16 a, Lanes16 b) { return {_mm512_add_ps(a.v, b.v)}; }

struct Four16 {
  using Wide = Lanes16;
  __m512 v;  // four times

  static Four16 values(const float* p) { return {_mm512_broadcast_f32x4(_mm_loadu_ps(p))}; }
  static Four16 values(const Half* p) {
    return {_mm512_broadcast_f32x4(_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
  }
  template <int i>
  Lanes16 all() const {
    return {_mm512_permute_ps(v, i * 0x55)};
  }
};

template <bool even>
struct Fours {
  using Type = Four16;
};
template <>
struct Fours<false> {
  using Type = Four;
};
template <std::size_t vectors>
using FourOf = typename Fours<vectors % 2 == 0>::Type;

#include "kernels/csr_impl.h"

}  // namespace

const CsrKernels csr_kernels_avx512[kCsrValues][kCsrColumns] = {DTC_CSR_KERNELS(float), DTC_CSR_KERNELS(Half)};

}  // namespace dtc
