// What the lookup kernels of AVX-512 share: vectors of 16 rows, the tables of four inputs, and the walk over planes,
// groups and spans. Local to the files that include it.
#ifndef DTC_KERNELS_LUT_AVX512_H_
#define DTC_KERNELS_LUT_AVX512_H_

#include <immintrin.h>

#include "kernels/lut_driver.h"

namespace dtc {
namespace {

struct Avx512 {
  using F = __m512;
  static constexpr std::size_t lanes = 16, vectors = kLutRows / lanes;
  static F load(const float* from) { return _mm512_loadu_ps(from); }
  static F load_half(const std::uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static void prefetch(const void* from) { _mm_prefetch(static_cast<const char*>(from), _MM_HINT_T0); }
  static void store(float* to, F value) { _mm512_storeu_ps(to, value); }
  static F set(float value) { return _mm512_set1_ps(value); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
};

/// How many columns one pass over the codes serves: with two blocks that makes 16 sums, half of the registers.
constexpr std::size_t kColumns = 4;

/// Asks for code bytes 8 KiB ahead: enough that memory is never waited for (1.3 times as fast as the processor's own
/// foresight on Zen 5).
inline void prefetch(const std::uint8_t* codes) {
  _mm_prefetch(reinterpret_cast<const char*>(codes + 8192), _MM_HINT_T1);
}

inline __m512i load64(const void* from) { return _mm512_loadu_si512(from); }

/// The signed sums of four inputs: entry n adds input i where bit i of n is set and subtracts it elsewhere.
inline __m512 nibble_table(const float* x) {
  const __m512 minus = _mm512_set1_ps(-0.0F);
  const auto signed_input = [&](__mmask16 negative, float value) {
    const __m512 all = _mm512_set1_ps(value);
    return _mm512_mask_xor_ps(all, negative, all, minus);
  };
  const __m512 low = _mm512_add_ps(signed_input(0x5555, x[0]), signed_input(0x3333, x[1]));
  return _mm512_add_ps(low, _mm512_add_ps(signed_input(0x0F0F, x[2]), signed_input(0x00FF, x[3])));
}

/// The last entry, which adds all inputs.
inline float last_of(__m512 entries) {
  const __m128 upper = _mm512_extractf32x4_ps(entries, 3);
  return _mm_cvtss_f32(_mm_shuffle_ps(upper, upper, 0xFF));
}

/// y += alpha * sums for a plane of signs, or what the mask adds for its plane.
template <int Blocks, int Columns, bool Masked>
inline void add_group(const LutCodes& codes, const LutBlock* blocks, std::size_t plane, std::size_t group,
                      const float* table_sums, const __m512 (*sums)[Columns][Avx512::vectors], float* y) {
  for (int u = 0; u < Blocks; ++u) {
    for (int c = 0; c < Columns; ++c) {
      float* to = y + (c * Blocks + u) * kLutRows;
      if (Masked && plane == codes.bits) {
        add_mask<Avx512>(codes, blocks[u], group, table_sums[c], sums[u][c], to);
      } else {
        add_plane<Avx512>(codes, blocks[u], plane, group, sums[u][c], to);
      }
    }
  }
}

/// The products of `Blocks` blocks with `Columns` columns. Plane by plane, which reads each from its begin to its end:
/// the processor foresees that.
template <class Table, int Blocks, int Columns, bool Masked>
void multiply_planes(const LutCodes& codes, const LutBlock* blocks, const LutColumn* columns, float* y) {
  for (std::size_t i = 0; i < Blocks * Columns * kLutRows; ++i) y[i] = 0.0F;
  for (std::size_t plane = 0; plane < codes.bits + (Masked ? 1 : 0); ++plane) {
    const std::uint8_t *signs[Blocks], *mask[Blocks];
    for (int u = 0; u < Blocks; ++u) {
      signs[u] = blocks[u].codes + plane * blocks[u].plane_stride;
      mask[u] = blocks[u].codes + codes.bits * blocks[u].plane_stride;
    }
    for (std::size_t s = 0; s < codes.span_count;) {
      const std::size_t group = codes.spans[s].group;
      __m512 sums[Blocks][Columns][Avx512::vectors];
      float table_sums[Columns], input_sums[Columns];
      for (int c = 0; c < Columns; ++c) {
        table_sums[c] = input_sums[c] = 0.0F;
        for (int u = 0; u < Blocks; ++u) sums[u][c][0] = sums[u][c][1] = _mm512_setzero_ps();
      }
      for (; s < codes.span_count && codes.spans[s].group == group; ++s) {
        const unsigned char* tables[Columns];
        float scales[Columns];
        for (int c = 0; c < Columns; ++c) {
          const LutFactors& factors = columns[c].factors[s];
          tables[c] = columns[c].tables;
          scales[c] = factors.scale;
          table_sums[c] += factors.table_sum;
          input_sums[c] += factors.sum;
        }
        Table::template look_up<Blocks, Columns, Masked>(signs, mask, tables, codes.spans[s], scales, sums);
      }
      add_group<Blocks, Columns, Masked>(codes, blocks, plane, group, table_sums, sums, y);
      if (Masked || !codes.constant || plane != 0) continue;
      for (int c = 0; c < Columns; ++c) {
        for (int u = 0; u < Blocks; ++u) {
          add_constant<Avx512>(codes, blocks[u], group, input_sums[c], y + (c * Blocks + u) * kLutRows);
        }
      }
    }
  }
}

template <class Table, int Blocks, int Columns>
void multiply_columns(const LutCodes& codes, const LutBlock* blocks, const LutColumn* columns, float* y) {
  if (codes.masked) {
    multiply_planes<Table, Blocks, Columns, true>(codes, blocks, columns, y);
  } else {
    multiply_planes<Table, Blocks, Columns, false>(codes, blocks, columns, y);
  }
}

template <class Table, int Blocks>
void multiply_count(const LutCodes& codes, const LutBlock* blocks, const LutColumn* columns, std::size_t column_count,
                    float* y) {
  switch (column_count) {
    case 1:
      return multiply_columns<Table, Blocks, 1>(codes, blocks, columns, y);
    case 2:
      return multiply_columns<Table, Blocks, 2>(codes, blocks, columns, y);
    case 3:
      return multiply_columns<Table, Blocks, 3>(codes, blocks, columns, y);
    default:
      return multiply_columns<Table, Blocks, 4>(codes, blocks, columns, y);
  }
}

/// `LutKernel::multiply` with the tables of `Table`.
template <class Table>
void multiply_wide(const LutCodes& codes, const LutBlock* blocks, std::size_t block_count, const LutColumn* columns,
                   std::size_t column_count, float* y) {
  if (block_count == 1) return multiply_count<Table, 1>(codes, blocks, columns, column_count, y);
  // One column leaves time to wait for memory, which is read fastest from begin to end.
  if (column_count == 1) {
    multiply_columns<Table, 1, 1>(codes, blocks, columns, y);
    return multiply_columns<Table, 1, 1>(codes, blocks + 1, columns, y + kLutRows);
  }
  return multiply_count<Table, 2>(codes, blocks, columns, column_count, y);
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_AVX512_H_
