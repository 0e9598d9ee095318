#include <immintrin.h>

#include "kernels/cells_isa.h"

namespace dtc::kernels {
namespace {

struct Vec {
  __m256 v;
};
constexpr std::size_t kLanes = 8;

Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
void store(float* p, Vec v) { _mm256_storeu_ps(p, v.v); }
Vec set(float x) { return {_mm256_set1_ps(x)}; }
Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }

Vec power_of_two(Vec shifted) {
  const __m256i n = _mm256_add_epi32(_mm256_castps_si256(shifted.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(n, 23))};
}

#include "kernels/cells_impl.h"

}  // namespace

const Cells cells_avx2 = {lstm, gru_reset, gru_update, each_sigmoid, each_tanh};

}  // namespace dtc::kernels
