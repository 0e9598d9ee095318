// Partial sums with VBMI: two byte permutations of two registers each, and a choice by the index' highest bit, look 64
// rows up in a table of 256 bytes.
#include <immintrin.h>

#include "kernels/codebook_sums_tables.h"

namespace dtc {
namespace {

constexpr std::size_t kChunk = 16;                                // rows that are turned at a time
constexpr std::size_t kBlocks = 4, kRows = kBlocks * kSumsLanes;  // registers of rows, and rows, that meet a table
constexpr std::size_t kQuarter = 64;  // meanings of a byte whose sums are computed at a time

/// The sums of the q-th quarter of a byte's meanings.
inline void sums_of(const float* x, std::size_t count, const float* words, std::size_t q, __m512* out) {
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) out[i] = _mm512_setzero_ps();
  for (std::size_t d = 0; d < count; ++d) {
    const __m512 factor = _mm512_set1_ps(x[d]);
    const float* const from = words + d * 256 + q * kQuarter;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) out[i] = _mm512_fmadd_ps(factor, _mm512_loadu_ps(from + 16 * i), out[i]);
  }
}

/// The largest magnitude of the sums of a byte.
inline __m512 largest_of(const float* x, std::size_t count, const float* words) {
  __m512 most = _mm512_setzero_ps(), sums[4];
  for (std::size_t q = 0; q < 4; ++q) {
    sums_of(x, count, words, q, sums);
    const __m512 first = _mm512_max_ps(_mm512_abs_ps(sums[0]), _mm512_abs_ps(sums[1]));
    const __m512 second = _mm512_max_ps(_mm512_abs_ps(sums[2]), _mm512_abs_ps(sums[3]));
    most = _mm512_max_ps(most, _mm512_max_ps(first, second));
  }
  return most;
}

/// Writes the table of a byte, in units of 1 / `inverse`.
inline void store_table(const float* x, std::size_t count, const float* words, __m512 inverse, unsigned char* table) {
  // Packing goes on in each 128 bits alone: what it takes apart is put together at the end, four bytes at a time.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i zero = _mm512_set1_epi16(static_cast<short>(kSumsZero)), byte = _mm512_set1_epi16(255);
  __m512 sums[4];
  for (std::size_t q = 0; q < 4; ++q) {
    sums_of(x, count, words, q, sums);
    __m512i numbers[2];
#pragma GCC unroll 2
    for (std::size_t i = 0; i < 2; ++i) {
      const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(sums[2 * i], inverse));
      const __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(sums[2 * i + 1], inverse));
      numbers[i] = _mm512_xor_si512(_mm512_packs_epi32(low, high), zero);  // the same as adding it
    }
    const __m512i lower = _mm512_packus_epi16(_mm512_and_si512(numbers[0], byte), _mm512_and_si512(numbers[1], byte));
    const __m512i upper = _mm512_packus_epi16(_mm512_srli_epi16(numbers[0], 8), _mm512_srli_epi16(numbers[1], 8));
    _mm512_storeu_si512(table + q * kQuarter, _mm512_permutexvar_epi32(order, lower));
    _mm512_storeu_si512(table + 256 + q * kQuarter, _mm512_permutexvar_epi32(order, upper));
  }
}

void build_run(const float* x, std::size_t inputs, const float* words, std::size_t places, std::size_t bytes,
               unsigned char* tables, float* scale) {
  const std::size_t taken = inputs < bytes * places ? inputs : bytes * places;
  const auto count = [&](std::size_t b) { return taken - b * places < places ? taken - b * places : places; };
  __m512 most = _mm512_setzero_ps(), total = _mm512_setzero_ps();
  for (std::size_t i = 0; i < taken; i += 16) {
    const auto there = static_cast<__mmask16>(taken - i >= 16 ? 0xFFFF : (1U << (taken - i)) - 1);
    total = _mm512_add_ps(total, _mm512_maskz_loadu_ps(there, x + i));
  }
  for (std::size_t b = 0; b < bytes; ++b) most = _mm512_max_ps(most, largest_of(x + b * places, count(b), words));
  *scale = sums_scale(_mm512_reduce_max_ps(most), _mm512_reduce_add_ps(total));
  const __m512 inverse = _mm512_set1_ps(1.0F / *scale);
  // Once more: to keep the sums would take more than the nearest cache.
  for (std::size_t b = 0; b < bytes; ++b) {
    store_table(x + b * places, count(b), words, inverse, tables + b * kSumsTable);
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

/// 64 rows of a run, byte by byte.
using Turned = std::uint8_t[kSumsRun][kSumsLanes];

/// Writes 16 rows from `row` on, or the last one again where there are no more, as those from `at` on. Each is read
/// once, as far as it goes: rows may be so far apart that all of them share a few lines of the nearest cache.
inline void turn(const IndexRows& rows, std::size_t row, std::size_t begin, std::size_t at, Turned& out) {
  const std::size_t last = rows.rows - 1, left = rows.row_bytes - begin;
  const __mmask64 there = left >= kSumsRun ? ~0ULL : (1ULL << left) - 1;
  __m512i lines[kChunk], mixed[kChunk];
  const std::uint8_t* from = rows.codes + row * rows.row_bytes + begin;
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kChunk; ++i) {
    lines[i] = _mm512_maskz_loadu_epi8(there, from);
    if (row < last) ++row, from += rows.row_bytes;
  }
  // Of each 16 columns: a round turns the 8 bits of a byte's place, of its register and within it, by one; four
  // exchange both.
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) {
      mixed[2 * i] = _mm512_unpacklo_epi8(lines[i], lines[i + 8]);
      mixed[2 * i + 1] = _mm512_unpackhi_epi8(lines[i], lines[i + 8]);
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kChunk; ++i) lines[i] = mixed[i];
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kChunk; ++i) {
    const auto to = [&](std::size_t j) { return reinterpret_cast<__m128i*>(out[16 * j + i] + at); };
    _mm_store_si128(to(0), _mm512_castsi512_si128(lines[i]));
    _mm_store_si128(to(1), _mm512_extracti32x4_epi32(lines[i], 1));
    _mm_store_si128(to(2), _mm512_extracti32x4_epi32(lines[i], 2));
    _mm_store_si128(to(3), _mm512_extracti32x4_epi32(lines[i], 3));
  }
}

/// A table of 256 bytes.
struct Table {
  __m512i quarters[4];

  explicit Table(const unsigned char* from) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) quarters[i] = _mm512_loadu_si512(from + 64 * i);
  }
  __m512i find(__m512i at, __mmask64 upper) const {
    const __m512i low = _mm512_permutex2var_epi8(quarters[0], at, quarters[1]);
    const __m512i high = _mm512_permutex2var_epi8(quarters[2], at, quarters[3]);
    return _mm512_mask_mov_epi8(low, upper, high);
  }
};

/// Sums of bytes in 16 bits: of all pairs, where the odd ones count 256 times, and of the odd ones.
struct Pairs {
  __m512i all = _mm512_setzero_si512(), odd = all;

  void add(__m512i bytes) {
    all = _mm512_add_epi16(all, bytes);
    // A product, as permutations occupy what shifts.
    odd = _mm512_add_epi16(odd, _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(0x0100)));
  }
  __m512i even() const { return _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8)); }
};

/// scale * (256 * upper + lower - zero), of half a register.
template <int Half>
inline __m512 scaled(__m512i upper, __m512i lower, __m512i zero, __m512 scale) {
  const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(upper, Half));
  const __m512i low = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(lower, Half));
  const __m512i sum = _mm512_sub_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low), zero);
  return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
}

inline void add_to(float* y, std::size_t left, __m512 sums) {
  const auto there = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1U << left) - 1);
  _mm512_mask_storeu_ps(y, there, _mm512_add_ps(_mm512_maskz_loadu_ps(there, y), sums));
}

/// The sums of 64 rows and a run.
struct Block {
  Pairs lower, upper;

  /// y += scale * the sums of so many bytes, for up to 64 rows.
  void put(std::size_t bytes, float scale, std::size_t rows, float* y) const {
    put_half<0>(bytes, scale, rows, y);
    if (rows > 32) put_half<1>(bytes, scale, rows - 32, y + 32);
  }

 private:
  template <int Half>
  void put_half(std::size_t bytes, float scale, std::size_t rows, float* y) const {
    const __m512i zero = _mm512_set1_epi32(kSumsZero * static_cast<int>(bytes));
    const __m512 by = _mm512_set1_ps(scale);
    const __m512 even = scaled<Half>(upper.even(), lower.even(), zero, by);
    const __m512 odd = scaled<Half>(upper.odd, lower.odd, zero, by);
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    add_to(y, rows, _mm512_permutex2var_ps(even, first, odd));
    if (rows <= 16) return;
    add_to(y + 16, rows - 16, _mm512_permutex2var_ps(even, _mm512_add_epi32(first, _mm512_set1_epi32(8)), odd));
  }
};

/// Adds so many bytes of `Count` blocks, for which a table is loaded once. What is at `ahead` is fetched, a line a byte
/// and block: all at once would keep lookups waiting.
template <int Count>
void add_blocks(Block* blocks, const Turned* turned, std::size_t bytes, const unsigned char* tables,
                const std::uint8_t* ahead) {
  Pairs lower[Count], upper[Count];
#pragma GCC unroll 4
  for (int b = 0; b < Count; ++b) lower[b] = blocks[b].lower, upper[b] = blocks[b].upper;
  for (std::size_t j = 0; j < bytes; ++j, tables += kSumsTable, ahead += 64 * Count) {
    const Table low(tables), high(tables + 256);
#pragma GCC unroll 4
    for (int b = 0; b < Count; ++b) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead + 64 * b), _MM_HINT_T1);
      const __m512i at = _mm512_load_si512(turned[b][j]);
      const __mmask64 top = _mm512_movepi8_mask(at);
      lower[b].add(low.find(at, top));
      upper[b].add(high.find(at, top));
    }
  }
#pragma GCC unroll 4
  for (int b = 0; b < Count; ++b) blocks[b].lower = lower[b], blocks[b].upper = upper[b];
}

/// y = the products of up to kRows rows, run by run.
void multiply_rows(const IndexRows& rows, const unsigned char* tables, const float* scales, const std::uint8_t* ahead,
                   float* y) {
  using Add = void (*)(Block*, const Turned*, std::size_t, const unsigned char*, const std::uint8_t*);
  constexpr Add by_count[kBlocks] = {add_blocks<1>, add_blocks<2>, add_blocks<3>, add_blocks<4>};
  const std::size_t count = (rows.rows + kSumsLanes - 1) / kSumsLanes;
  const Add add = by_count[count - 1];
  alignas(64) Turned turned[kBlocks];
  for (std::size_t r = 0; r < rows.rows; ++r) y[r] = 0.0F;
  for (std::size_t begin = 0; begin < rows.row_bytes; begin += kSumsRun) {
    const std::size_t left = rows.row_bytes - begin, bytes = left < kSumsRun ? left : kSumsRun;
    for (std::size_t at = 0; at < rows.rows; at += kChunk) {
      turn(rows, at, begin, at % kSumsLanes, turned[at / kSumsLanes]);
    }
    Block blocks[kBlocks];
    add(blocks, turned, bytes, tables + begin * kSumsTable, ahead);
    ahead += count * bytes * 64;
    for (std::size_t b = 0; b * kSumsLanes < rows.rows; ++b) {
      const std::size_t row = b * kSumsLanes;
      blocks[b].put(bytes, scales[begin / kSumsRun], rows.rows - row, y + row);
    }
  }
}

void multiply(const IndexRows& rows, std::size_t behind, const unsigned char* tables, const float* scales, float* y) {
  for (std::size_t first = 0; first < rows.rows; first += kRows) {
    const std::size_t left = rows.rows - first;
    const IndexRows some{rows.codes + first * rows.row_bytes, rows.row_bytes, left < kRows ? left : kRows};
    // Where rows end there is nothing to fetch but them.
    const std::size_t after = left - some.rows + behind;
    const std::uint8_t* const next = some.codes + (after >= kRows ? some.rows * some.row_bytes : 0);
    multiply_rows(some, tables, scales, next, y + first);
  }
}

}  // namespace

const CodebookSumsKernel kCodebookSumsAvx512 = {build, multiply};

}  // namespace dtc
