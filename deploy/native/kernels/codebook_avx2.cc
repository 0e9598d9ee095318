#include <cstdint>

#include "kernels/codebook_words_x86.h"

namespace dtc {
namespace {

/// Indices of `bits` bits, eight to a vector.
template <unsigned bits>
struct Lanes : Many {
  using Packed = __m256i;  // 32 bits of indices, in every lane
  static constexpr std::size_t step = 4, vectors = 4 / bits;

  static Packed unpack(const std::uint8_t* codes) {
    int word;
    __builtin_memcpy(&word, codes, 4);
    return _mm256_set1_epi32(word);
  }

  /// Each lane's index in its lowest bits, and others' above.
  static __m256i indices(Packed packed, std::size_t vector) {
    constexpr int b = bits;
    const __m256i shifts = _mm256_setr_epi32(0, b, 2 * b, 3 * b, 4 * b, 5 * b, 6 * b, 7 * b);
    return _mm256_srlv_epi32(packed, _mm256_add_epi32(shifts, _mm256_set1_epi32(8 * b * static_cast<int>(vector))));
  }
};

template <unsigned bits>
struct Lookup;

template <>
struct Lookup<2> : Lanes<2> {
  explicit Lookup(const float* w) : table(_mm256_setr_ps(w[0], w[1], w[2], w[3], w[0], w[1], w[2], w[3])) {}
  Type at(Packed packed, std::size_t vector) const { return _mm256_permutevar_ps(table, indices(packed, vector)); }
  Type table;
};

template <>
struct Lookup<4> : Lanes<4> {
  explicit Lookup(const float* w) : low(load(w)), high(load(w + 8)) {}
  /// A permutation of eight floats looks at three bits; the fourth chooses between two.
  Type at(Packed packed, std::size_t vector) const {
    const __m256i index = indices(packed, vector);
    const Type fourth = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index), fourth);
  }
  Type low, high;
};

/// 256 codewords, each read from the nearest cache: to gather eight with one instruction took 1.6 times as long on
/// Zen 5.
template <>
struct Lookup<8> : Many {
  using Packed = Type;
  static constexpr std::size_t step = 8, vectors = 1;
  explicit Lookup(const float* w) : table(w) {}
  Packed unpack(const std::uint8_t* codes) const {
    std::uint64_t eight;
    __builtin_memcpy(&eight, codes, 8);
    const auto of = [&](unsigned byte) { return table[eight >> (8 * byte) & 255]; };
    return _mm256_setr_ps(of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7));
  }
  Type at(Packed packed, std::size_t) const { return packed; }
  const float* table;
};

}  // namespace
}  // namespace dtc

#include "kernels/codebook_impl.h"
#include "kernels/lookup_impl.h"

namespace dtc {

extern const CodebookKernels codebook_avx2;
const CodebookKernels codebook_avx2 = {{codebook_decode, codebook_multiply}, {lookup_decode, lookup_multiply}};

}  // namespace dtc
