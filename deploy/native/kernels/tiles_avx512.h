// Tiles with AVX-512, VBMI and GFNI: what the kernels for AMX and for VNNI share. Local to the files that include it.
#ifndef DTC_KERNELS_TILES_AVX512_H_
#define DTC_KERNELS_TILES_AVX512_H_

#include <immintrin.h>

#include "kernels/tiles_driver.h"

namespace dtc {
namespace {

/// In each 32-bit lane these four bytes, the first lowest.
inline __m512i bytes_of_lane(unsigned a, unsigned b, unsigned c, unsigned d) {
  return _mm512_set1_epi32(static_cast<int>(a | b << 8 | c << 16 | d << 24));
}

/// The number of each 32-bit lane in each of its bytes.
inline __m512i lane_numbers() {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_mullo_epi32(lane, _mm512_set1_epi32(0x01010101));
}

inline void alphas_avx512(const LutCodes& codes, const LutBlock& block, std::size_t term, std::size_t group,
                          std::size_t row, float* out) {
  const std::size_t at = term * block.term_stride + group * block.group_stride + row;
  if (codes.half) {
    const void* const from = static_cast<const std::uint16_t*>(block.alphas) + at;
    _mm512_storeu_ps(out, _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(from))));
  } else {
    _mm512_storeu_ps(out, _mm512_loadu_ps(static_cast<const float*>(block.alphas) + at));
  }
}

/// Affine maps of a byte as GFNI takes them, one output bit a byte of the matrix, the uppermost first.
struct BitMaps {
  std::uint64_t sign;      ///< bits 1 to 7 are the input bit; bit 0 is nothing
  std::uint64_t plane[3];  ///< bit 4 + p is the input bit
  std::uint64_t top;       ///< bit 7 is the input bit
};

/// Those of each input bit.
constexpr BitMaps bit_maps(int bit) {
  return {0x0001010101010101ULL << bit, {1ULL << bit << 24, 1ULL << bit << 16, 1ULL << bit << 8}, 1ULL << bit};
}
constexpr BitMaps kBitMaps[8] = {bit_maps(0), bit_maps(1), bit_maps(2), bit_maps(3),
                                 bit_maps(4), bit_maps(5), bit_maps(6), bit_maps(7)};

template <int Flipped = 0>
inline __m512i mapped(__m512i codes, std::uint64_t map) {
  __m512i maps = _mm512_set1_epi64(static_cast<long long>(map));
#if defined(__clang__)
  // Left to itself clang (14) has the instruction read the map from memory, and encodes a wrong distance.
  __asm__("" : "+v"(maps));
#endif
  return _mm512_gf2p8affine_epi64_epi8(codes, maps, Flipped);
}

/// Where a level stands that bit `Bit` of the codes of some planes chooses: bit p of it is 4 + p of the place, of up to
/// three, and the row the lower four bits. Here with GFNI.
struct MappedBits {
  template <int Planes, int Bit>
  static __m512i places(const __m512i* codes) {
    constexpr const BitMaps& maps = kBitMaps[Bit];
    const __m512i first = mapped(codes[0], maps.plane[0]);
    if constexpr (Planes == 1) return _mm512_or_si512(lane_numbers(), first);
    const __m512i second = mapped(codes[Planes > 1 ? 1 : 0], maps.plane[1]);
    if constexpr (Planes == 2) return _mm512_ternarylogic_epi32(lane_numbers(), first, second, 0xFE);
    const __m512i third = mapped(codes[Planes > 2 ? 2 : 0], maps.plane[2]);
    return _mm512_ternarylogic_epi32(_mm512_or_si512(lane_numbers(), first), second, third, 0xFE);
  }

  template <int Bit>
  static __mmask64 are_set(__m512i codes) {
    return _mm512_movepi8_mask(mapped(codes, kBitMaps[Bit].top));
  }
};

/// The same with shifts.
struct ShiftedBits {
  template <int Planes, int Bit>
  static __m512i places(const __m512i* codes) {
    __m512i at = add<0, Bit>(codes[0], lane_numbers());
    if constexpr (Planes > 1) at = add<1, Bit>(codes[1], at);
    if constexpr (Planes > 2) at = add<2, Bit>(codes[2], at);
    return at;
  }

  template <int Bit>
  static __mmask64 are_set(__m512i codes) {
    return _mm512_test_epi8_mask(codes, _mm512_set1_epi8(static_cast<char>(1 << Bit)));
  }

 private:
  template <int Plane, int Bit>
  static __m512i add(__m512i codes, __m512i others) {
    constexpr int right = Bit - 4 - Plane;
    const __m512i there =
        right > 0 ? _mm512_srli_epi16(codes, right > 0 ? right : 0) : _mm512_slli_epi16(codes, right > 0 ? 0 : -right);
    return _mm512_ternarylogic_epi32(there, _mm512_set1_epi8(16 << Plane), others, 0xEA);  // (a & b) | c
  }
};

/// `Engine::Strip`: `Offset` is added to every level.
template <int Planes, int Offset, class Bits>
class Avx512Strip {
 public:
  Avx512Strip(const std::int8_t* levels, std::size_t strip) {
    const unsigned first = static_cast<unsigned>(strip * kTileRows);
    rows_ = _mm512_add_epi8(lane_numbers(), bytes_of_lane(first, 32 + first, 64 + first, 96 + first));
    if constexpr (Planes != 0) {
      for (int i = 0; i < kTables; ++i) {
        const __m512i table = _mm512_loadu_si512(levels + 64 * i);
        tables_[i] = _mm512_xor_si512(table, _mm512_set1_epi8(static_cast<char>(Offset)));
      }
    }
  }

  /// Registers of codes: byte p of lane r is of position p of row r.
  static constexpr int registers = Planes == 0 ? 1 : Planes;

  void make(const std::uint8_t* const* codes, std::int8_t* tile) const {
    for (std::size_t half = 0; half < 2; ++half, tile += kTileBytes / 2) {
      __m512i quads[registers];
      load(codes, half, quads);
      store<0>(quads, tile);
      store<1>(quads, tile);
      store<2>(quads, tile);
      store<3>(quads, tile);
      store<4>(quads, tile);
      store<5>(quads, tile);
      store<6>(quads, tile);
      store<7>(quads, tile);
    }
  }

  /// The codes of four positions, of the eight from which a tile is made.
  void load(const std::uint8_t* const* codes, std::size_t half, __m512i* quads) const {
    for (int p = 0; p < registers; ++p) {
      const std::uint8_t* const from = codes[p] + half * 128;
      const __m512i low = _mm512_loadu_si512(from), high = _mm512_loadu_si512(from + 64);
      _mm_prefetch(reinterpret_cast<const char*>(from + 8192), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(from + 8192 + 64), _MM_HINT_T1);
      quads[p] = _mm512_permutex2var_epi8(low, rows_, high);
    }
  }

  /// A line of a tile: the levels of one bit of each code. A sign is +1 or -1: bit 0 is 1, the others are its opposite;
  /// with 128 added, where bytes are unsigned, bit 7 is it.
  template <int Bit>
  __m512i line(const __m512i* quads) const {
    if constexpr (Planes == 0) return mapped < Offset == 0 ? 0xFF : 0x7F > (quads[0], kBitMaps[Bit].sign);
    const __m512i at = Bits::template places<(Planes < 3 ? Planes : 3), Bit>(quads);
    if constexpr (Planes < 3) return _mm512_permutexvar_epi8(at, tables_[0]);
    const __m512i low = _mm512_permutex2var_epi8(tables_[0], at, tables_[kTables / 2 - (Planes == 4)]);
    if constexpr (Planes < 4) return low;
    const __m512i high = _mm512_permutex2var_epi8(tables_[kTables / 2], at, tables_[kTables - 1]);
    return _mm512_mask_mov_epi8(low, Bits::template are_set<Bit>(quads[registers - 1]), high);
  }

 private:
  /// Registers of levels of 16 rows.
  static constexpr int kTables = Planes < 3 ? 1 : Planes == 3 ? 2 : 4;

  template <int Bit>
  void store(const __m512i* quads, std::int8_t* tile) const {
    _mm512_store_si512(tile + Bit * kTileDepth, line<Bit>(quads));
  }

  __m512i rows_;
  __m512i tables_[kTables];
};

/// The largest magnitude of x, and its sum.
inline void measure_avx512(const float* x, std::size_t count, float* largest, float* sum) {
  __m512 most = _mm512_setzero_ps(), sums = _mm512_setzero_ps();
  for (std::size_t i = 0; i < count; i += 16) {
    const auto there = static_cast<__mmask16>(count - i >= 16 ? 0xFFFF : (1U << (count - i)) - 1);
    const __m512 value = _mm512_maskz_loadu_ps(there, x + i);
    most = _mm512_max_ps(most, _mm512_abs_ps(value));
    sums = _mm512_add_ps(sums, value);
  }
  *largest = _mm512_reduce_max_ps(most);
  *sum = _mm512_reduce_add_ps(sums);
}

/// The bytes of 64 numbers, in the order of a tile.
inline __m512i tile_line(const __m512i* numbers) {
  // Byte 32 g + 4 bit + p is input 32 g + 8 p + bit.
  const __m256i half = _mm256_setr_epi8(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27, 4, 12, 20, 28, 5, 13,
                                        21, 29, 6, 14, 22, 30, 7, 15, 23, 31);
  const __m512i order =
      _mm512_inserti64x4(_mm512_castsi256_si512(half), _mm256_add_epi8(half, _mm256_set1_epi8(32)), 1);
  __m512i bytes = _mm512_castsi128_si512(_mm512_cvtsepi32_epi8(numbers[0]));
  bytes = _mm512_inserti32x4(bytes, _mm512_cvtsepi32_epi8(numbers[1]), 1);
  bytes = _mm512_inserti32x4(bytes, _mm512_cvtsepi32_epi8(numbers[2]), 2);
  bytes = _mm512_inserti32x4(bytes, _mm512_cvtsepi32_epi8(numbers[3]), 3);
  return _mm512_permutexvar_epi8(order, bytes);
}

inline void build_avx512(const float* x, std::size_t inputs, const TileSpan* spans, std::size_t span_count, int digits,
                         std::size_t column, std::size_t lower, const TileColumns& out) {
  for (std::size_t s = 0; s < span_count; ++s) {
    const TileSpan& span = spans[s];
    const float* const from = x + 8 * span.begin;
    const std::size_t count = (8 * span.end < inputs ? 8 * span.end : inputs) - 8 * span.begin;
    float most, sum;
    measure_avx512(from, count, &most, &sum);
    const TileScale scale = tile_scale(most, sum, digits);
    const std::size_t known = scale.inverse != 0.0F ? count : 0;  // what is not finite is told by the scale alone
    const __m512 inverse = _mm512_set1_ps(scale.inverse), by_base = _mm512_set1_ps(1.0F / kTileBase);
    __m512i totals[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (std::size_t tile = 0; tile < span.tiles(); ++tile) {
      __m512i numbers[2][4];
      for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t at = tile * kTileDepth + 16 * i, left = at < known ? known - at : 0;
        const auto there = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1U << left) - 1);
        const __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(there, from + at), inverse);
        const __m512i number = _mm512_cvtps_epi32(value);
        const __m512i upper = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(number), by_base));
        numbers[0][i] = digits == 2 ? upper : number;
        numbers[1][i] = _mm512_sub_epi32(number, _mm512_mullo_epi32(upper, _mm512_set1_epi32(kTileBase)));
        for (int d = 0; d < digits; ++d) totals[d] = _mm512_add_epi32(totals[d], numbers[d][i]);
      }
      for (int d = 0; d < digits; ++d) {
        _mm512_store_si512(out.line(span.tile + tile, d == 0 ? column : lower), tile_line(numbers[d]));
      }
    }
    const std::int32_t total[2] = {_mm512_reduce_add_epi32(totals[0]), _mm512_reduce_add_epi32(totals[1])};
    put_factors(out, s, column, lower, digits, scale, sum, total);
  }
}

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_TILES_AVX512_H_
