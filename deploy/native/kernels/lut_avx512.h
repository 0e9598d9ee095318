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

/// How many columns one pass over the codes serves: that makes 16 sums, half of the registers. What makes places in
/// tables of codes takes an eighth of the time then, and with four columns a quarter (Zen 4).
constexpr std::size_t kColumns = 8;

/// Asks for code bytes ahead of their turn.
inline void prefetch(const std::uint8_t* codes) { _mm_prefetch(reinterpret_cast<const char*>(codes), _MM_HINT_T1); }

/// What to ask for when a block's plane is read, from the same position on: 8 KiB ahead, enough that memory is never
/// waited for (1.3 times as fast as the processor's own foresight on Zen 5); of a part of the positions, the same part
/// of the next block.
inline const std::uint8_t* ahead_of_plane(const LutCodes& codes, const LutBlock& block, std::size_t plane) {
  const bool all = codes.spans[0].begin == 0 && codes.spans[codes.span_count - 1].end == codes.positions;
  return (all ? block.codes + 8192 : block.next) + plane * block.plane_stride;
}

/// Where a look-up finds the codes of a plane.
struct PlaneCodes {
  const std::uint8_t *signs, *mask, *ahead;
};

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

/// What the sums of a plane are multiplied with, and where the products are added.
template <int Columns>
struct PlaneOutput {
  __m512 alphas[Avx512::vectors];
  LutOutput out;

  void add(int column, const __m512* sums) const {
    const auto there = static_cast<__mmask16>(out.adds ? 0xFFFF : 0);
    float* const to = out.y + column * out.stride;
    for (std::size_t h = 0; h < Avx512::vectors; ++h) {
      const __m512 before = _mm512_maskz_loadu_ps(there, to + h * Avx512::lanes);
      Avx512::store(to + h * Avx512::lanes, _mm512_fmadd_ps(alphas[h], sums[h], before));
    }
  }
};

/// y += what the mask's own plane adds.
template <class Table, int Columns>
void add_mask_plane(const LutCodes& codes, const LutBlock& block, const LutColumn* columns, std::size_t first,
                    std::size_t end, const LutOutput& out) {
  float looked_up[Columns * kLutRows];
  const PlaneOutput<Columns> plain = {{_mm512_set1_ps(1.0F), _mm512_set1_ps(1.0F)}, {looked_up, kLutRows, false}};
  const std::uint8_t* const mask = block.codes + codes.bits * block.plane_stride;
  const PlaneCodes plane = {mask, mask, ahead_of_plane(codes, block, codes.bits)};
  Table::template look_up<Columns, true>(plane, columns, codes.spans, first, end, plain);
  for (int c = 0; c < Columns; ++c) {
    __m512 sums[Avx512::vectors];
    for (std::size_t h = 0; h < Avx512::vectors; ++h) {
      sums[h] = Avx512::load(looked_up + c * kLutRows + h * Avx512::lanes);
    }
    const float whole = sum_of_spans(columns[c], first, end).table_sum;
    add_mask<Avx512>(codes, block, codes.spans[first].group, whole, sums, out.y + c * out.stride);
  }
}

/// The products of a block with `Columns` columns. Plane by plane, which reads each from its begin to its end: the
/// processor foresees that. `Table::look_up` hands on the sums of a plane over spans of one group.
template <class Table, int Columns, bool Masked>
void multiply_planes(const LutCodes& codes, const LutBlock& block, const LutColumn* columns, LutOutput out) {
  const std::uint8_t* const mask = block.codes + codes.bits * block.plane_stride;
  // Asked for now, y is there when the first sums are: 5 % of a product of 700 columns.
  for (int c = 0; c < Columns; ++c) {
    for (std::size_t i = 0; i < kLutRows; i += Avx512::lanes) Avx512::prefetch(out.y + c * out.stride + i);
  }
  for (std::size_t plane = 0; plane < codes.bits; ++plane) {
    const PlaneCodes from = {block.codes + plane * block.plane_stride, mask, ahead_of_plane(codes, block, plane)};
    for (std::size_t first = 0, end = 0; first < codes.span_count; first = end, out.adds = true) {
      end = group_end(codes, first);
      const std::size_t group = codes.spans[first].group;
      prefetch_alphas<Avx512>(codes, block, plane, group);
      PlaneOutput<Columns> to = {{}, out};
      for (std::size_t h = 0; h < Avx512::vectors; ++h) {
        to.alphas[h] = alphas_at<Avx512>(codes, block, plane, group, h * Avx512::lanes);
      }
      Table::template look_up<Columns, Masked>(from, columns, codes.spans, first, end, to);
    }
  }
  if (!Masked && !codes.constant) return;
  for (std::size_t first = 0, end = 0; first < codes.span_count; first = end) {
    end = group_end(codes, first);
    if constexpr (Masked) {
      add_mask_plane<Table, Columns>(codes, block, columns, first, end, out);
    } else {
      for (int c = 0; c < Columns; ++c) {
        const float sum = sum_of_spans(columns[c], first, end).sum;
        add_constant<Avx512>(codes, block, codes.spans[first].group, sum, out.y + c * out.stride);
      }
    }
  }
}

template <class Table, int Columns>
void multiply_columns(const LutCodes& codes, const LutBlock& block, const LutColumn* columns, const LutOutput& out) {
  if (codes.masked) {
    multiply_planes<Table, Columns, true>(codes, block, columns, out);
  } else {
    multiply_planes<Table, Columns, false>(codes, block, columns, out);
  }
}

/// `LutKernel::multiply` with the tables of `Table`.
template <class Table>
void multiply_wide(const LutCodes& codes, const LutBlock* blocks, std::size_t block_count, const LutColumn* columns,
                   std::size_t column_count, const LutOutput& out) {
  using Multiply = void (*)(const LutCodes&, const LutBlock&, const LutColumn*, const LutOutput&);
  constexpr Multiply by_columns[] = {multiply_columns<Table, 1>, multiply_columns<Table, 2>, multiply_columns<Table, 3>,
                                     multiply_columns<Table, 4>, multiply_columns<Table, 5>, multiply_columns<Table, 6>,
                                     multiply_columns<Table, 7>, multiply_columns<Table, 8>};
  static_assert(sizeof by_columns / sizeof *by_columns == kColumns, "one for each number of columns");
  for (std::size_t u = 0; u < block_count; ++u) {
    by_columns[column_count - 1](codes, blocks[u], columns, {out.y + u * kLutRows, out.stride, out.adds});
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_AVX512_H_
