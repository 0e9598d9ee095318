#include <immintrin.h>

#include "kernels/cells_isa.h"

namespace dtc::kernels {
namespace {

struct Vec {
  __m512 v;
};
constexpr std::size_t kLanes = 16;

Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
void store(float* p, Vec v) { _mm512_storeu_ps(p, v.v); }
Vec set(float x) { return {_mm512_set1_ps(x)}; }
Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }

Vec power_of_two(Vec shifted) {
  const __m512i n = _mm512_add_epi32(_mm512_castps_si512(shifted.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(n, 23))};
}

#include "kernels/cells_impl.h"

}  // namespace

const Cells cells_avx512 = {lstm, gru_reset, gru_update, each_sigmoid, each_tanh};

}  // namespace dtc::kernels
