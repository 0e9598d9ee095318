// Lookup in tables of bytes with VBMI and VNNI: vpermb looks up 64 bytes in 64, that is in four tables of 16 entries,
// and vpdpbusd adds the four that are of one row. Two instructions for 256 weights, and no sum overflows.
#ifndef DTC_KERNELS_LUT_AVX512VNNI_H_
#define DTC_KERNELS_LUT_AVX512VNNI_H_

#include "kernels/lut_avx512.h"

namespace dtc {
namespace {

/// In each 32-bit lane these four bytes, the first lowest.
inline __m512i lanes_of(unsigned a, unsigned b, unsigned c, unsigned d) {
  return _mm512_set1_epi32(static_cast<int>(a | b << 8 | c << 16 | d << 24));
}

/// Positions in the four tables, for 16 rows: bytes of each 32-bit lane from the 64-bit lane shifted right by `shifts`.
inline __m512i places_of(__m512i code, __m512i shifts) {
  const __m512i nibbles = _mm512_multishift_epi64_epi8(shifts, code);
  return _mm512_ternarylogic_epi32(nibbles, _mm512_set1_epi8(15), lanes_of(0, 16, 32, 48), 0xEA);  // (a & b) | c
}

/// sums += in each 32-bit lane the four products of a byte of `weights`, unsigned, with one of `found`, signed. Not by
/// the intrinsic, for which GCC 12 copies every sum of a loop to another register and back: 1.5 times the time.
inline void add_products(__m512i weights, __m512i found, __m512i& sums) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(found));
}

/// Adds the products with byte positions [begin, end), of which a `Step` takes Step::positions at a time and says how
/// they are read.
template <class Step, int Blocks, int Columns, bool Masked>
inline void add_steps(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, std::size_t begin, std::size_t end, const float* scales,
                      __m512 (*sums)[Columns][Avx512::vectors]) {
  __m512i own[Blocks][Columns][Avx512::vectors];
  for (int u = 0; u < Blocks; ++u) {
    for (int c = 0; c < Columns; ++c) own[u][c][0] = own[u][c][1] = _mm512_setzero_si512();
  }
  for (std::size_t b = begin; b < end; b += Step::positions) {
    __m512i places[Blocks][Avx512::vectors];
    for (int u = 0; u < Blocks; ++u) {
      Step::template places<Masked>(signs[u] + b * kLutRows, mask[u] + b * kLutRows, places[u]);
    }
    for (int c = 0; c < Columns; ++c) {
      const __m512i table = load64(tables[c] + b * Step::bytes);
      for (int u = 0; u < Blocks; ++u) {
        for (std::size_t h = 0; h < Avx512::vectors; ++h) {
          const __m512i found = _mm512_permutexvar_epi8(places[u][h], table);
          add_products(Step::weights(), found, own[u][c][h]);
        }
      }
    }
  }
  for (int c = 0; c < Columns; ++c) {
    const __m512 scale = _mm512_set1_ps(scales[c]);
    for (int u = 0; u < Blocks; ++u) {
      for (std::size_t h = 0; h < Avx512::vectors; ++h) {
        sums[u][c][h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(own[u][c][h]), scale, sums[u][c][h]);
      }
    }
  }
}

/// The sum of the inputs of byte positions [begin, end), and the largest entry that their tables have.
inline void measure(const float* x, std::size_t begin, std::size_t end, float* sum, float* largest) {
  __m512 sums = _mm512_setzero_ps(), most = _mm512_setzero_ps();
  for (std::size_t i = 8 * begin; i < 8 * end; i += 16) {
    const __mmask16 there = i + 16 <= 8 * end ? 0xFFFF : 0x00FF;
    const __m512 value = _mm512_maskz_loadu_ps(there, x + i);
    sums = _mm512_add_ps(sums, value);
    __m512 size = _mm512_abs_ps(value);
    size = _mm512_add_ps(size, _mm512_permute_ps(size, 0xB1));
    size = _mm512_add_ps(size, _mm512_permute_ps(size, 0x4E));
    most = _mm512_max_ps(most, size);
  }
  *sum = _mm512_reduce_add_ps(sums);
  *largest = _mm512_reduce_max_ps(most);
}

/// `LutKernel::build` for tables of whole numbers up to Table::largest; Table::store writes the entries of the lower
/// and the upper four inputs of a byte position.
template <class Table>
void build_digits(const float* x, const LutSpan* spans, std::size_t span_count, unsigned char* tables,
                  LutFactors* factors) {
  for (std::size_t s = 0; s < span_count; ++s) {
    float sum, largest;
    measure(x, spans[s].begin, spans[s].end, &sum, &largest);
    // What is not finite shows in the sum, even where the maximum does not see it.
    const bool finite = sum - sum == 0.0F && largest - largest == 0.0F;
    largest = finite && largest > 1e-30F ? largest : 1e-30F;
    const __m512 inverse = _mm512_set1_ps(static_cast<float>(Table::largest) / largest);
    __m512i total = _mm512_setzero_si512();
    for (std::size_t b = spans[s].begin; b < spans[s].end; ++b) {
      const __m512i lower = _mm512_cvtps_epi32(_mm512_mul_ps(nibble_table(x + 8 * b), inverse));
      const __m512i upper = _mm512_cvtps_epi32(_mm512_mul_ps(nibble_table(x + 8 * b + 4), inverse));
      Table::store(lower, upper, tables + b * Table::bytes);
      total = _mm512_add_epi32(total, _mm512_add_epi32(lower, upper));
    }
    const float scale = finite ? largest / static_cast<float>(Table::largest) : __builtin_nanf("");
    factors[s] = {scale, sum, scale * last_of(_mm512_cvtepi32_ps(total))};
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_AVX512VNNI_H_
