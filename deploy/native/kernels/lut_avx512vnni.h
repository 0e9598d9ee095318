// Lookup in tables of bytes with VBMI and VNNI: vpermb looks up 64 bytes in 64, that is in four tables of 16 entries,
// and vpdpbusd adds the four that are of one row. Two instructions for 256 weights, and no sum overflows.
#ifndef DTC_KERNELS_LUT_AVX512VNNI_H_
#define DTC_KERNELS_LUT_AVX512VNNI_H_

#include "kernels/lut_avx512.h"

namespace dtc {
namespace {

/// Entries of two digits are of this base, and digits from -127 to 127: vpdpbusd multiplies the upper ones.
constexpr int kDigitBase = 255;

/// In each 32-bit lane these four bytes, the first lowest.
inline __m512i lanes_of(unsigned a, unsigned b, unsigned c, unsigned d) {
  return _mm512_set1_epi32(static_cast<int>(a | b << 8 | c << 16 | d << 24));
}

/// The lower halves of bytes as places in four tables, which are those of the bytes of each 32-bit lane.
inline __m512i places_of(__m512i nibbles) {
  return _mm512_ternarylogic_epi32(nibbles, _mm512_set1_epi8(15), lanes_of(0, 16, 32, 48), 0xEA);  // (a & b) | c
}

/// sums += in each 32-bit lane the four products of a byte of `weights`, unsigned, with one of `found`, signed. Not by
/// the intrinsic, for which GCC 12 copies every sum of a loop to another register and back: 1.5 times the time.
inline void add_products(__m512i weights, __m512i found, __m512i& sums) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(found));
}

/// Four byte positions, in tables of `Digits` bytes an entry: those of the lower four inputs of the four positions,
/// then those of the upper four; of each first the lower digits, then the upper.
template <int Digits>
struct FourPositions {
  static constexpr std::size_t positions = 4, bytes = 128 * Digits;
  static constexpr int halves = 2, digits = Digits;

  static __m512i weights(int digit) {
    const unsigned weight = digit == 0 ? 1 : kDigitBase;
    return lanes_of(weight, weight, weight, weight);
  }

  template <bool Masked>
  static void places(const std::uint8_t* signs, const std::uint8_t* mask, __m512i (*out)[Avx512::vectors]) {
    // Byte p of lane i is row i of position p, which is byte 32 p + i of two registers.
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i first =
        _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(0x01010101)), lanes_of(0, 32, 64, 96));
    __m512i low = load64(signs), high = load64(signs + 64);
    if (Masked) {
      low = _mm512_and_si512(low, load64(mask));
      high = _mm512_and_si512(high, load64(mask + 64));
    }
    for (std::size_t h = 0; h < Avx512::vectors; ++h) {
      const __m512i rows = h == 0 ? first : _mm512_add_epi32(first, lanes_of(16, 16, 16, 16));
      const __m512i code = _mm512_permutex2var_epi8(low, rows, high);
      out[0][h] = places_of(code);
      out[1][h] = places_of(_mm512_srli_epi16(code, 4));
    }
  }
};

/// sums += scale * own, with the scale of each column.
template <int Blocks, int Columns>
inline void add_scaled(const __m512i (*own)[Columns][Avx512::vectors], const float* scales,
                       __m512 (*sums)[Columns][Avx512::vectors]) {
  for (int c = 0; c < Columns; ++c) {
    const __m512 scale = _mm512_set1_ps(scales[c]);
    for (int u = 0; u < Blocks; ++u) {
      for (std::size_t h = 0; h < Avx512::vectors; ++h) {
        sums[u][c][h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(own[u][c][h]), scale, sums[u][c][h]);
      }
    }
  }
}

/// Adds the products with byte positions [begin, end), of which a `Step` takes Step::positions at a time. `tables` are
/// those of `begin`.
template <class Step, int Blocks, int Columns, bool Masked>
inline void add_steps(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                      const unsigned char* const* tables, std::size_t begin, std::size_t end, const float* scales,
                      __m512 (*sums)[Columns][Avx512::vectors]) {
  if (begin >= end) return;
  // Of one sum for all, each addition would wait for the one before.
  constexpr int chains = Blocks * Columns == 1 ? Step::halves : 1;
  __m512i own[chains][Blocks][Columns][Avx512::vectors];
  for (auto& chain : own) {
    for (auto& block : chain) {
      for (auto& column : block) column[0] = column[1] = _mm512_setzero_si512();
    }
  }
  std::size_t at = 0;
  for (std::size_t b = begin; b < end; b += Step::positions, at += Step::bytes) {
    __m512i places[Blocks][Step::halves][Avx512::vectors];
#pragma GCC unroll 2
    for (int u = 0; u < Blocks; ++u) {
      for (std::size_t ahead = 0; ahead < Step::positions; ahead += 2) prefetch(signs[u] + (b + ahead) * kLutRows);
      Step::template places<Masked>(signs[u] + b * kLutRows, mask[u] + b * kLutRows, places[u]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) {
#pragma GCC unroll 4
      for (int t = 0; t < Step::halves * Step::digits; ++t) {
        const __m512i table = load64(tables[c] + at + 64 * t);
        const int half = t / Step::digits;
#pragma GCC unroll 2
        for (int u = 0; u < Blocks; ++u) {
#pragma GCC unroll 2
          for (std::size_t h = 0; h < Avx512::vectors; ++h) {
            add_products(Step::weights(t % Step::digits), _mm512_permutexvar_epi8(places[u][half][h], table),
                         own[half % chains][u][c][h]);
          }
        }
      }
    }
  }
  if (chains == 2) {
    for (__m512i(&column)[Avx512::vectors] : own[0][0]) {
      for (std::size_t h = 0; h < Avx512::vectors; ++h) {
        column[h] = _mm512_add_epi32(column[h], own[chains - 1][0][0][h]);
      }
    }
  }
  add_scaled<Blocks, Columns>(own[0], scales, sums);
}

/// `look_up` of the driver for a `Table`: four positions at a time, and then what is left, as the table says.
template <class Table, int Blocks, int Columns, bool Masked>
inline void look_up_bytes(const std::uint8_t* const* signs, const std::uint8_t* const* mask,
                          const unsigned char* const* tables, const LutSpan& span, const float* scales,
                          __m512 (*sums)[Columns][Avx512::vectors]) {
  const std::size_t begin = span.begin, end = begin + (span.end - begin) / 4 * 4;
  const unsigned char* at[Columns];
  for (int c = 0; c < Columns; ++c) at[c] = tables[c] + begin * Table::bytes;
  add_steps<FourPositions<Table::digits>, Blocks, Columns, Masked>(signs, mask, at, begin, end, scales, sums);
  if (end == span.end) return;
  for (int c = 0; c < Columns; ++c) at[c] = tables[c] + end * Table::bytes;
  Table::template rest<Blocks, Columns, Masked>(signs, mask, at, end, span.end, scales, sums);
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

/// Writes a table of four inputs; its upper digits lie `digit` bytes after the lower ones.
template <int Digits>
inline void store_digits(__m512i entries, unsigned char* to, std::size_t digit) {
  if (Digits == 2) {
    // The middle between two multiples of an odd base is no entry: the product need not be exact.
    const __m512 inverse = _mm512_set1_ps(1.0F / kDigitBase);
    const __m512i upper = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(entries), inverse));
    entries = _mm512_sub_epi32(entries, _mm512_mullo_epi32(upper, _mm512_set1_epi32(kDigitBase)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + digit), _mm512_cvtsepi32_epi8(upper));
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(entries));
}

/// `LutKernel::build` for tables of whole numbers up to Table::largest.
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
    const std::size_t fours = spans[s].begin + (spans[s].end - spans[s].begin) / 4 * 4;
    for (std::size_t b = spans[s].begin; b < spans[s].end; ++b) {
      const __m512i lower = _mm512_cvtps_epi32(_mm512_mul_ps(nibble_table(x + 8 * b), inverse));
      const __m512i upper = _mm512_cvtps_epi32(_mm512_mul_ps(nibble_table(x + 8 * b + 4), inverse));
      total = _mm512_add_epi32(total, _mm512_add_epi32(lower, upper));
      const std::size_t p = (b - spans[s].begin) % 4;
      const bool in_four = b < fours;
      unsigned char* to = in_four ? tables + (b - p) * Table::bytes + 16 * p : tables + b * Table::bytes;
      const std::size_t digit = in_four ? 64 : 32;
      store_digits<Table::digits>(lower, to, digit);
      store_digits<Table::digits>(upper, to + (in_four ? 64 * Table::digits : 16), digit);
    }
    const float scale = finite ? largest / static_cast<float>(Table::largest) : __builtin_nanf("");
    factors[s] = {scale, sum, scale * last_of(_mm512_cvtepi32_ps(total))};
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_AVX512VNNI_H_
