// Partial sums with VBMI: two byte permutations of two registers each, and a choice by the index' highest bit, look 64
// rows up in a table of 256 bytes.
#include <immintrin.h>

#include "kernels/codebook_sums_tables.h"

namespace dtc {
namespace {

constexpr std::size_t kChunk = 16;  // bytes of a row that are turned at a time

/// The sums of 16 meanings of a byte, from the v-th 16 on.
inline __m512 sums_of(const float* x, std::size_t count, const float* words, std::size_t v) {
  __m512 sum = _mm512_mul_ps(_mm512_set1_ps(x[0]), _mm512_loadu_ps(words + 16 * v));
  for (std::size_t d = 1; d < count; ++d) {
    sum = _mm512_fmadd_ps(_mm512_set1_ps(x[d]), _mm512_loadu_ps(words + d * 256 + 16 * v), sum);
  }
  return sum;
}

void build_run(const float* x, std::size_t inputs, const float* words, std::size_t places, std::size_t bytes,
               unsigned char* tables, float* scale) {
  alignas(64) float sums[kSumsRun][256];
  __m512 most = _mm512_setzero_ps();
  float total = 0.0F;
  for (std::size_t b = 0; b < bytes; ++b) {
    const std::size_t left = inputs - b * places, count = left < places ? left : places;
    for (std::size_t i = 0; i < count; ++i) total += x[b * places + i];
    for (std::size_t v = 0; v < 16; ++v) {
      const __m512 sum = sums_of(x + b * places, count, words, v);
      most = _mm512_max_ps(most, _mm512_abs_ps(sum));
      _mm512_store_ps(sums[b] + 16 * v, sum);
    }
  }
  *scale = sums_scale(_mm512_reduce_max_ps(most), total);
  const __m512 inverse = _mm512_set1_ps(1.0F / *scale);
  for (std::size_t b = 0; b < bytes; ++b) {
    for (std::size_t v = 0; v < 16; ++v) {
      const __m512i number = _mm512_add_epi32(
          _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_load_ps(sums[b] + 16 * v), inverse)), _mm512_set1_epi32(kSumsZero));
      unsigned char* const to = tables + b * kSumsTable + 16 * v;
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(number));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 256), _mm512_cvtepi32_epi8(_mm512_srli_epi32(number, 8)));
    }
  }
}

void build(const float* x, std::size_t inputs, const float* words, std::size_t places, std::size_t bytes,
           unsigned char* tables, float* scales) {
  for (std::size_t begin = 0; begin < bytes; begin += kSumsRun) {
    const std::size_t some = bytes - begin < kSumsRun ? bytes - begin : kSumsRun;
    build_run(x + begin * places, inputs - begin * places, words, places, some, tables + begin * kSumsTable,
              scales + begin / kSumsRun);
  }
}

/// Byte j of 64 rows in register j, for 16 bytes from `from` on; rows beyond `rows` repeat the last.
inline void turn(const IndexRows& rows, std::size_t first, std::size_t at, __mmask16 there, __m512i* out) {
  __m512i lines[kChunk];
  const std::size_t last = rows.rows - 1;
  const auto line = [&](std::size_t row) {
    const std::uint8_t* const from = rows.codes + (row < last ? row : last) * rows.row_bytes + at;
    return there == 0xFFFF ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))
                           : _mm_maskz_loadu_epi8(there, from);
  };
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kChunk; ++i) {
    __m512i all = _mm512_castsi128_si512(line(first + i));
    all = _mm512_inserti32x4(all, line(first + 16 + i), 1);
    all = _mm512_inserti32x4(all, line(first + 32 + i), 2);
    lines[i] = _mm512_inserti32x4(all, line(first + 48 + i), 3);
  }
  // Each round turns the 8 bits of a byte's place, of its register and within it, by one; four exchange both.
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) {
      out[2 * i] = _mm512_unpacklo_epi8(lines[i], lines[i + 8]);
      out[2 * i + 1] = _mm512_unpackhi_epi8(lines[i], lines[i + 8]);
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kChunk; ++i) lines[i] = out[i];
  }
}

inline __m512i found_in(const unsigned char* table, __m512i at, __mmask64 upper) {
  const __m512i low = _mm512_permutex2var_epi8(_mm512_loadu_si512(table), at, _mm512_loadu_si512(table + 64));
  const __m512i high = _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), at, _mm512_loadu_si512(table + 192));
  return _mm512_mask_mov_epi8(low, upper, high);
}

/// Sums of bytes in 16 bits: of all pairs, where the odd ones count 256 times, and of the odd ones.
struct Pairs {
  __m512i all = _mm512_setzero_si512(), odd = all;

  void add(__m512i bytes) {
    all = _mm512_add_epi16(all, bytes);
    odd = _mm512_add_epi16(odd, _mm512_srli_epi16(bytes, 8));
  }
  __m512i even() const { return _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8)); }
};

/// y [2, 32] += scale * (256 * upper + lower - zero), for one half of the rows of a register.
inline void add_half(__m512i upper, __m512i lower, int zero, __m512 scale, float* y) {
  for (int half = 0; half < 2; ++half) {
    const __m512i high =
        _mm512_cvtepu16_epi32(half == 0 ? _mm512_castsi512_si256(upper) : _mm512_extracti64x4_epi64(upper, 1));
    const __m512i low =
        _mm512_cvtepu16_epi32(half == 0 ? _mm512_castsi512_si256(lower) : _mm512_extracti64x4_epi64(lower, 1));
    const __m512i sum = _mm512_sub_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low), _mm512_set1_epi32(zero));
    _mm512_store_ps(y + 16 * half, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, _mm512_load_ps(y + 16 * half)));
  }
}

/// Rows [first, first + 64) and one run of bytes; y [even rows, odd rows].
void add_run(const IndexRows& rows, std::size_t first, std::size_t begin, const unsigned char* tables, float scale,
             float* y) {
  const std::size_t left = rows.row_bytes - begin, bytes = left < kSumsRun ? left : kSumsRun;
  Pairs lower, upper;
  for (std::size_t at = 0; at < bytes; at += kChunk) {
    const std::size_t some = bytes - at < kChunk ? bytes - at : kChunk;
    __m512i turned[kChunk];
    turn(rows, first, begin + at, static_cast<__mmask16>((1U << some) - 1), turned);
    for (std::size_t j = 0; j < some; ++j) {
      const unsigned char* const table = tables + (begin + at + j) * kSumsTable;
      const __mmask64 top = _mm512_movepi8_mask(turned[j]);
      lower.add(found_in(table, turned[j], top));
      upper.add(found_in(table + 256, turned[j], top));
    }
  }
  const int zero = kSumsZero * static_cast<int>(bytes);
  const __m512 by = _mm512_set1_ps(scale);
  add_half(upper.even(), lower.even(), zero, by, y);
  add_half(upper.odd, lower.odd, zero, by, y + 32);
}

/// Run by run, so that its tables stay in the nearest cache for all rows; those that come next are fetched meanwhile.
void multiply(const IndexRows& rows, const unsigned char* tables, const float* scales, const std::uint8_t* next,
              float* y) {
  alignas(64) float sums[kSumsRows];
  for (float& sum : sums) sum = 0.0F;
  for (std::size_t begin = 0; begin < rows.row_bytes; begin += kSumsRun) {
    for (std::size_t first = 0; first < rows.rows; first += kSumsLanes) {
      for (std::size_t ahead = 0; next != nullptr && ahead < kSumsRun * kSumsLanes; ahead += 64, next += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
      }
      add_run(rows, first, begin, tables, scales[begin / kSumsRun], sums + first);
    }
  }
  for (std::size_t r = 0; r < rows.rows; ++r) {
    const std::size_t in = r % kSumsLanes;
    y[r] = sums[r - in + in % 2 * 32 + in / 2];
  }
}

}  // namespace

const CodebookSumsKernel kCodebookSumsAvx512 = {build, multiply};

}  // namespace dtc
