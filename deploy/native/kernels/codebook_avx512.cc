#include <cstdint>

#include "kernels/codebook_words_x86.h"

namespace dtc {
namespace {

struct Sixteen {
  using Type = __m512;
  static constexpr std::size_t lanes = 16;
  static Type zero() { return _mm512_setzero_ps(); }
  static Type load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Type a) { _mm512_storeu_ps(to, a); }
  static Type multiply_add(Type a, Type b, Type sum) { return _mm512_fmadd_ps(a, b, sum); }
  static float sum(Type a) { return Many::sum(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1))); }
};

template <class Packed>
Packed load_packed(const std::uint8_t* codes) {
  Packed out;
  __builtin_memcpy(&out, codes, sizeof(out));
  return out;
}

template <unsigned bits>
struct Lookup;

template <>
struct Lookup<2> : Sixteen {
  using Packed = __m512i;  // 32 bits of indices, in every lane
  static constexpr std::size_t step = 4, vectors = 1;
  explicit Lookup(const float* w) : table(_mm512_broadcast_f32x4(_mm_loadu_ps(w))) {}
  static Packed unpack(const std::uint8_t* codes) { return _mm512_set1_epi32(load_packed<int>(codes)); }
  Type at(Packed packed, std::size_t) const {
    const __m512i shifts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutevar_ps(table, _mm512_srlv_epi32(packed, shifts));
  }
  Type table;
};

template <>
struct Lookup<4> : Sixteen {
  using Packed = __m512i;  // 32 bits of indices in every lane of a half
  static constexpr std::size_t step = 8, vectors = 1;
  explicit Lookup(const float* w) : table(load(w)) {}
  static Packed unpack(const std::uint8_t* codes) {
    const __m512i low = _mm512_set1_epi32(load_packed<int>(codes));
    return _mm512_mask_set1_epi32(low, 0xff00, load_packed<int>(codes + 4));
  }
  /// A permutation of sixteen floats looks at four bits.
  Type at(Packed packed, std::size_t) const {
    const __m512i shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    return _mm512_permutexvar_ps(_mm512_srlv_epi32(packed, shifts), table);
  }
  Type table;
};

/// 256 codewords in sixteen registers: the lower halves of the floats in eight, the upper in eight, as a permutation of
/// two registers of 16-bit words looks at six bits of an index. Half the instructions of permutations of whole floats.
template <>
struct Lookup<8> : Sixteen {
  struct Packed {
    Type words[2];
  };
  static constexpr std::size_t step = 32, vectors = 2;

  explicit Lookup(const float* w) {
    for (std::size_t i = 0; i < 8; ++i) {
      const __m512i a = _mm512_loadu_si512(w + 32 * i), b = _mm512_loadu_si512(w + 32 * i + 16);
      low[i] = joined(_mm512_cvtepi32_epi16(a), _mm512_cvtepi32_epi16(b));
      high[i] =
          joined(_mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16)), _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 16)));
    }
  }

  Packed unpack(const std::uint8_t* codes) const {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
    // As halves are joined within each 128 bits: of each the first four are codewords 0 to 15, the others 16 to 31.
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m512i index = _mm512_cvtepu8_epi16(_mm256_permutevar8x32_epi32(bytes, order));
    const __mmask32 seventh = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
    const __mmask32 eighth = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
    const __m512i lower = choose(low, index, seventh, eighth), upper = choose(high, index, seventh, eighth);
    return {{_mm512_castsi512_ps(_mm512_unpacklo_epi16(lower, upper)),
             _mm512_castsi512_ps(_mm512_unpackhi_epi16(lower, upper))}};
  }

  Type at(const Packed& packed, std::size_t vector) const { return packed.words[vector]; }

 private:
  static __m512i joined(__m256i a, __m256i b) { return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1); }

  static __m512i choose(const __m512i (&halves)[8], __m512i index, __mmask32 seventh, __mmask32 eighth) {
    const auto of = [&](std::size_t i) { return _mm512_permutex2var_epi16(halves[i], index, halves[i + 1]); };
    return _mm512_mask_blend_epi16(eighth, _mm512_mask_blend_epi16(seventh, of(0), of(2)),
                                   _mm512_mask_blend_epi16(seventh, of(4), of(6)));
  }

  __m512i low[8], high[8];
};

}  // namespace
}  // namespace dtc

#include "kernels/codebook_impl.h"
#include "kernels/lookup_impl.h"

namespace dtc {

extern const CodebookKernels codebook_avx512;
const CodebookKernels codebook_avx512 = {{codebook_decode, codebook_multiply}, {lookup_decode, lookup_multiply}};

}  // namespace dtc
