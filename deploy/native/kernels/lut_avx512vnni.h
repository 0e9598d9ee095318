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

/// Byte positions that are looked up at once; what is left of a span may be fewer. Of so many positions the tables of
/// the lower four inputs of each come first, then those of the upper four; of either first the lower digits.
constexpr std::size_t kFour = 4;

/// The codes of up to four positions, of 16 of a block's rows: byte p of lane i is row i of position p. `first` has 32
/// rows of two positions, and `second` of the next two.
inline __m512i quads_of(__m512i first, __m512i second, std::size_t half) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i rows = _mm512_mullo_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(16 * half))),
                                          _mm512_set1_epi32(0x01010101));
  return _mm512_permutex2var_epi8(first, _mm512_add_epi32(rows, lanes_of(0, 32, 64, 96)), second);
}

template <bool Masked>
inline __m512i load_codes(const std::uint8_t* signs, const std::uint8_t* mask, std::size_t at) {
  const __m512i codes = load64(signs + at);
  return Masked ? _mm512_and_si512(codes, load64(mask + at)) : codes;
}

/// Those of two positions, or of one, or of none.
template <bool Masked>
inline __m512i load_rest(const std::uint8_t* signs, const std::uint8_t* mask, std::size_t at, std::size_t positions) {
  const __mmask64 there = positions == 0 ? 0 : positions == 1 ? 0xFFFFFFFF : ~__mmask64{0};
  const __m512i codes = _mm512_maskz_loadu_epi8(there, signs + at);
  return Masked ? _mm512_and_si512(codes, _mm512_maskz_loadu_epi8(there, mask + at)) : codes;
}

/// Loaded here, once, and into a register: left to itself the compiler loads tables for each use, and keeps weights in
/// more registers than there are.
inline __m512i loaded(__m512i value) {
  __asm__ volatile("" : "+v"(value));
  return value;
}
inline __m512i broadcast(const std::uint32_t& weight) {
  __m512i all;
  __asm__ volatile("vpbroadcastd %1, %0" : "=v"(all) : "m"(weight));
  return all;
}

/// sums += what four positions add: `table(c, i)` returns table i of column c, `weights` what its digits are worth.
template <int Digits, int Columns, class Table>
inline void add_quads(__m512i upper_rows, __m512i lower_rows, const Table& table,
                      const std::uint32_t (*weights)[Digits], __m512i (*sums)[Avx512::vectors]) {
  const __m512i places[2][Avx512::vectors] = {
      {places_of(upper_rows), places_of(lower_rows)},
      {places_of(_mm512_srli_epi16(upper_rows, 4)), places_of(_mm512_srli_epi16(lower_rows, 4))}};
#pragma GCC unroll 8
  for (int c = 0; c < Columns; ++c) {
#pragma GCC unroll 2
    for (int digit = 0; digit < Digits; ++digit) {
      const __m512i weight = broadcast(weights[c][digit]);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const __m512i entries = loaded(table(c, half * Digits + digit));
        for (std::size_t h = 0; h < Avx512::vectors; ++h) {
          add_products(weight, _mm512_permutexvar_epi8(places[half][h], entries), sums[c][h]);
        }
      }
    }
  }
}

/// `look_up` of a `Table`: one of `digits` bytes an entry and `bytes` a position, of which a sum of whole numbers takes
/// `spans_a_sum` spans.
template <class Table, int Columns, bool Masked>
[[gnu::noinline]] void look_up_digits(const PlaneCodes& codes, const LutColumn* columns, const LutSpan* spans,
                                      std::size_t first, std::size_t end, const PlaneOutput<Columns>& to) {
  const std::uint8_t *const signs = codes.signs, *const mask = codes.mask;
  PlaneOutput<Columns> out = to;
  constexpr int digits = Table::digits;
  __m512i own[Columns][Avx512::vectors];
#pragma GCC unroll 8
  for (int c = 0; c < Columns; ++c) own[c][0] = own[c][1] = _mm512_setzero_si512();
  const std::size_t begin = spans[first].begin, fours = (spans[end - 1].end - begin) / kFour;
  const std::size_t last = fours == 0 ? 0 : begin + (fours - 1) * kFour;
  // Codes of the next positions are loaded before those of the present ones are looked up, which else would wait.
  __m512i upper = _mm512_setzero_si512(), lower = _mm512_setzero_si512();
  const auto load = [&](std::size_t at) {
    const __m512i one = load_codes<Masked>(signs, mask, at), two = load_codes<Masked>(signs, mask, at + 64);
    upper = quads_of(one, two, 0);
    lower = quads_of(one, two, 1);
  };
  if (fours != 0) load(begin * kLutRows);
  for (std::size_t s = first; s < end; ++s) {
    const unsigned char* tables[Columns];
    std::uint32_t weights[Columns][digits];
    for (int c = 0; c < Columns; ++c) {
      tables[c] = columns[c].tables + spans[s].begin * Table::bytes;
      weights[c][0] = columns[c].factors[s].weight;
      if (digits == 2) weights[c][digits - 1] = columns[c].factors[s].weight * kDigitBase;
    }
    std::size_t b = spans[s].begin, at = 0;
    for (; b + kFour <= spans[s].end; b += kFour, at += kFour * Table::bytes) {
      const __m512i upper_now = upper, lower_now = lower;
      prefetch(codes.ahead + b * kLutRows);
      prefetch(codes.ahead + b * kLutRows + 64);
      load((b < last ? b + kFour : b) * kLutRows);
      const auto table = [&](int c, int i) { return load64(tables[c] + at + 64 * i); };
      add_quads<digits, Columns>(upper_now, lower_now, table, weights, own);
    }
    if (b < spans[s].end) {
      const std::size_t left = spans[s].end - b, size = 16 * left;
      const auto there = static_cast<__mmask64>((std::uint64_t{1} << size) - 1);
      const auto table = [&](int c, int i) { return _mm512_maskz_loadu_epi8(there, tables[c] + at + size * i); };
      const __m512i one = load_rest<Masked>(signs, mask, b * kLutRows, left);
      const __m512i two = load_rest<Masked>(signs, mask, b * kLutRows + 64, left > 2 ? left - 2 : 0);
      add_quads<digits, Columns>(quads_of(one, two, 0), quads_of(one, two, 1), table, weights, own);
    }
    if (s + 1 < end && (s + 1 - first) % Table::spans_a_sum != 0) continue;
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) {
      const __m512 scale = _mm512_set1_ps(columns[c].factors[s].scale);
      __m512 sums[Avx512::vectors];
      for (std::size_t h = 0; h < Avx512::vectors; ++h) {
        sums[h] = _mm512_mul_ps(_mm512_cvtepi32_ps(own[c][h]), scale);
        own[c][h] = _mm512_setzero_si512();
      }
      out.add(c, sums);
    }
    out.out.adds = true;
  }
}

template <class Digits>
struct DigitTables {
  template <int Columns, bool Masked>
  static void look_up(const PlaneCodes& codes, const LutColumn* columns, const LutSpan* spans, std::size_t first,
                      std::size_t end, const PlaneOutput<Columns>& out) {
    look_up_digits<Digits, Columns, Masked>(codes, columns, spans, first, end, out);
  }
};

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

/// The largest weight of a span: what vpdpbusd multiplies with.
constexpr float kMostWeight = 255.0F;

/// Writes the units of a column's spans, given the largest entry of each as `scale`: where sums are of many spans, all
/// have one unit, and each a weight.
template <class Table>
void put_units(std::size_t span_count, LutFactors* factors) {
  constexpr float largest = static_cast<float>(Table::largest);
  float most = 1e-30F;
  for (std::size_t s = 0; s < span_count; ++s) most = most < factors[s].scale ? factors[s].scale : most;
  const float unit = most / (largest * kMostWeight);
  for (std::size_t s = 0; s < span_count; ++s) {
    float weight = 1.0F, own = (factors[s].scale > 1e-30F ? factors[s].scale : 1e-30F) / largest;
    if (Table::spans_a_sum > 1) {
      weight = own / unit + 1.0F;  // rounded up
      weight = weight < kMostWeight ? weight : kMostWeight;
      own = unit;
    }
    factors[s].scale = own;
    factors[s].weight = static_cast<std::uint32_t>(weight) * 0x01010101U;
  }
}

/// `LutKernel::build` for tables of whole numbers up to Table::largest.
template <class Table>
void build_digits(const float* x, const LutSpan* spans, std::size_t span_count, unsigned char* tables,
                  LutFactors* factors) {
  bool finite = true;
  for (std::size_t s = 0; s < span_count; ++s) {
    float sum, largest;
    measure(x, spans[s].begin, spans[s].end, &sum, &largest);
    // What is not finite shows in the sum, even where the maximum does not see it.
    finite = finite && sum - sum == 0.0F && largest - largest == 0.0F;
    factors[s] = {largest, sum, 0.0F, 0};
  }
  for (std::size_t s = 0; s < (finite ? 0 : span_count); ++s) factors[s].scale = 0.0F;
  put_units<Table>(span_count, factors);
  for (std::size_t s = 0; s < span_count; ++s) {
    const LutSpan& span = spans[s];
    const float unit = factors[s].scale * static_cast<float>(factors[s].weight & 255);
    const __m512 inverse = _mm512_set1_ps(1.0F / unit);
    __m512i total = _mm512_setzero_si512();
    for (std::size_t b = span.begin; b < span.end; ++b) {
      const __m512i lower = _mm512_cvtps_epi32(_mm512_mul_ps(nibble_table(x + 8 * b), inverse));
      const __m512i upper = _mm512_cvtps_epi32(_mm512_mul_ps(nibble_table(x + 8 * b + 4), inverse));
      total = _mm512_add_epi32(total, _mm512_add_epi32(lower, upper));
      const std::size_t p = (b - span.begin) % kFour, start = b - p, left = span.end - start;
      const std::size_t digit = 16 * (left < kFour ? left : kFour);
      unsigned char* const to = tables + start * Table::bytes + 16 * p;
      store_digits<Table::digits>(lower, to, digit);
      store_digits<Table::digits>(upper, to + digit * Table::digits, digit);
    }
    factors[s].table_sum = unit * last_of(_mm512_cvtepi32_ps(total));
    if (!finite) factors[s].scale = __builtin_nanf("");
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_LUT_AVX512VNNI_H_
