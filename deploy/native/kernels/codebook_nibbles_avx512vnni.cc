// 16 scalars with VNNI: vpdpbusd takes the words as unsigned, with 128 more, and 128 times the sum of x is taken off.
#include "kernels/codebook_nibbles_tables.h"
#include "kernels/tiles_avx512.h"

namespace dtc {
namespace {

constexpr int kOffset = 128;

inline void add_products(__m512i words, const std::int8_t* x, __m512i& sums) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(words), "m"(*reinterpret_cast<const __m512i*>(x)));
}

void build(const float* x, std::size_t inputs, NibbleColumn& column) {
  float largest, sum;
  measure_avx512(x, inputs, &largest, &sum);
  const TileScale scale = tile_scale(largest, sum, column.digits);
  column.unit = scale.unit;
  const std::size_t known = scale.inverse != 0.0F ? inputs : 0;
  const __m512 inverse = _mm512_set1_ps(scale.inverse), by_base = _mm512_set1_ps(1.0F / kTileBase);
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  __m512i totals[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (std::size_t b = 0; b < column.stride; b += 16) {
    const std::size_t at = 2 * b, left = at < known ? known - at : 0;
    const auto first = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1U << left) - 1);
    const auto second = static_cast<__mmask16>(left >= 32 ? 0xFFFF : left > 16 ? (1U << (left - 16)) - 1 : 0);
    const __m512 low = _mm512_maskz_loadu_ps(first, x + at), high = _mm512_maskz_loadu_ps(second, x + at + 16);
    for (std::size_t half = 0; half < 2; ++half) {
      const __m512i places = _mm512_add_epi32(evens, _mm512_set1_epi32(static_cast<int>(half)));
      const __m512 values = _mm512_mul_ps(_mm512_permutex2var_ps(low, places, high), inverse);
      __m512i numbers[2] = {_mm512_cvtps_epi32(values), _mm512_setzero_si512()};
      if (column.digits == 2) {
        const __m512i upper = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(numbers[0]), by_base));
        numbers[1] = _mm512_sub_epi32(numbers[0], _mm512_mullo_epi32(upper, _mm512_set1_epi32(kTileBase)));
        numbers[0] = upper;
      }
      for (std::size_t digit = 0; digit < static_cast<std::size_t>(column.digits); ++digit) {
        totals[digit] = _mm512_add_epi32(totals[digit], numbers[digit]);
        std::int8_t* const to = column.bytes + (2 * digit + half) * column.stride + b;
        _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(numbers[digit]));
      }
    }
  }
  for (int digit = 0; digit < 2; ++digit) column.totals[digit] = _mm512_reduce_add_epi32(totals[digit]);
}

/// The 16 bytes of one half, in every lane.
inline __m512i table_of(const ByteWords& words, std::size_t digit, std::size_t half) {
  const std::int8_t* const table = words.tables + (digit * 2 + half) * 256;
  alignas(16) std::int8_t sixteen[16];
  for (std::size_t i = 0; i < 16; ++i) sixteen[i] = table[half == 0 ? i : 16 * i];
  const __m512i all = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(sixteen)));
  return _mm512_xor_si512(all, _mm512_set1_epi8(static_cast<char>(kOffset)));
}

template <int WordDigits, int Digits>
void multiply_digits(const IndexRows& rows, const ByteWords& words, const NibbleColumn& x, float* y) {
  __m512i tables[WordDigits][2];
  std::int32_t extra[3] = {0, 0, 0};
  for (int w = 0; w < WordDigits; ++w) {
    for (std::size_t half = 0; half < 2; ++half) tables[w][half] = table_of(words, static_cast<std::size_t>(w), half);
    for (int g = 0; g < Digits; ++g) extra[nibbles_sum(w, g)] += kOffset * x.totals[g];
  }
  const __m512i fifteen = _mm512_set1_epi8(15);
  constexpr int kinds = WordDigits + Digits - 1;
  for (std::size_t r = 0; r < rows.rows; ++r) {
    const std::uint8_t* const codes = rows.codes + r * rows.row_bytes;
    __m512i sums[kinds][2];
    for (auto& sum : sums) sum[0] = sum[1] = _mm512_setzero_si512();
    for (std::size_t b = 0; b < rows.row_bytes; b += 64) {
      const std::size_t left = rows.row_bytes - b;
      const __mmask64 there = left >= 64 ? ~0ULL : (1ULL << left) - 1;
      const __m512i byte = _mm512_maskz_loadu_epi8(there, codes + b);
      _mm_prefetch(reinterpret_cast<const char*>(codes + b + 8192), _MM_HINT_T0);
      const __m512i halves[2] = {_mm512_and_si512(byte, fifteen),
                                 _mm512_and_si512(_mm512_srli_epi16(byte, 4), fifteen)};
#pragma GCC unroll 2
      for (int w = 0; w < WordDigits; ++w) {
#pragma GCC unroll 2
        for (std::size_t half = 0; half < 2; ++half) {
          const __m512i found = _mm512_shuffle_epi8(tables[w][half], halves[half]);
#pragma GCC unroll 2
          for (int g = 0; g < Digits; ++g) {
            const std::size_t line = 2 * static_cast<std::size_t>(g) + half;
            add_products(found, x.bytes + line * x.stride + b, sums[nibbles_sum(w, g)][half]);
          }
        }
      }
    }
    std::int32_t totals[3] = {0, 0, 0};
    for (int kind = 0; kind < kinds; ++kind) {
      totals[kind] = _mm512_reduce_add_epi32(_mm512_add_epi32(sums[kind][0], sums[kind][1])) - extra[kind];
    }
    y[r] = nibbles_number(totals, words, x);
  }
}

void multiply(const IndexRows& rows, const ByteWords& words, const NibbleColumn& x, float* y) {
  if (words.digits == 2) {
    return x.digits == 2 ? multiply_digits<2, 2>(rows, words, x, y) : multiply_digits<2, 1>(rows, words, x, y);
  }
  return x.digits == 2 ? multiply_digits<1, 2>(rows, words, x, y) : multiply_digits<1, 1>(rows, words, x, y);
}

}  // namespace

const CodebookNibblesKernel kCodebookNibblesAvx512 = {build, multiply};

}  // namespace dtc
