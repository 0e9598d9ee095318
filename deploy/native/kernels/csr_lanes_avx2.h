// What csr_impl.h needs of AVX2, FMA and F16C; included, like it, into the anonymous namespace of one file an
// instruction set.

#define DTC_CSR_INLINE inline __attribute__((always_inline))

using Half = std::uint16_t;

// How many values and columns ahead to prefetch. Without it batches of 8 take 1.7 times as long, of 20 1.25 times; with
// 256, one column takes 1.1 times as long (650 to 4096 columns, 90 % zeros, weights not in the cache, Zen 5).
constexpr std::size_t kAhead = 1024;

// Always inline: GCC leaves out calls of functions that do nothing but prefetch.
DTC_CSR_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

struct Lanes {
  static constexpr std::size_t size = 8;
  __m256 v;

  static Lanes zero() { return {_mm256_setzero_ps()}; }
  static Lanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Lanes lowest(float f) { return {_mm256_zextps128_ps256(_mm_set_ss(f))}; }
  static Lanes all(const float* p) { return {_mm256_broadcast_ss(p)}; }
  static Lanes all(const Half* p) { return {_mm256_set1_ps(_cvtsh_ss(*p))}; }
  static Lanes values(const float* p) { return load(p); }
  static Lanes values(const Half* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
  template <typename Column>
  static Lanes gather(const float* x, const Column* columns);

  void store(float* p) const { _mm256_storeu_ps(p, v); }
  // The first n of them, and zeros for the rest, were they infinite.
  Lanes first(std::size_t n) const {
    alignas(32) static const int masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(masks + kCsrLanes - n));
    return {_mm256_and_ps(v, _mm256_castsi256_ps(mask))};
  }
  float sum() const {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
};

Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
Lanes mul(Lanes a, Lanes b) { return {_mm256_mul_ps(a.v, b.v)}; }
Lanes add(Lanes a, Lanes b) { return {_mm256_add_ps(a.v, b.v)}; }
float single(float value) { return value; }
float single(Half value) { return _cvtsh_ss(value); }

// Written to lanes, each load is part of its vinsertps.
__m128 four(const float* a, const float* b, const float* c, const float* d) {
  __m128 v = _mm_load_ss(a);
  v[1] = *b;
  v[2] = *c;
  v[3] = *d;
  return v;
}

std::uint64_t load64(const void* p) {
  std::uint64_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

// Four columns come in one load. vgatherdps, of as many loads and more micro-operations, takes 1.9 times as long (Zen
// 5).
template <>
Lanes Lanes::gather(const float* x, const std::uint16_t* columns) {
  const std::uint64_t a = load64(columns), b = load64(columns + 4);
  const __m128 low = four(x + (a & 0xffff), x + (a >> 16 & 0xffff), x + (a >> 32 & 0xffff), x + (a >> 48));
  const __m128 high = four(x + (b & 0xffff), x + (b >> 16 & 0xffff), x + (b >> 32 & 0xffff), x + (b >> 48));
  return {_mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1)};
}

template <>
Lanes Lanes::gather(const float* x, const std::uint8_t* columns) {
  const std::uint64_t a = load64(columns);
  const __m128 low = four(x + (a & 0xff), x + (a >> 8 & 0xff), x + (a >> 16 & 0xff), x + (a >> 24 & 0xff));
  const __m128 high = four(x + (a >> 32 & 0xff), x + (a >> 40 & 0xff), x + (a >> 48 & 0xff), x + (a >> 56));
  return {_mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1)};
}

template <>
Lanes Lanes::gather(const float* x, const std::uint32_t* columns) {
  const __m128 low = four(x + columns[0], x + columns[1], x + columns[2], x + columns[3]);
  const __m128 high = four(x + columns[4], x + columns[5], x + columns[6], x + columns[7]);
  return {_mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1)};
}

// Four values, each to be had in all lanes. A load and a shuffle each, which are fewer loads than a broadcast each.
struct Four {
  using Wide = Lanes;
  __m256 v;  // twice

  static Four values(const float* p) { return {_mm256_broadcast_ps(reinterpret_cast<const __m128*>(p))}; }
  static Four values(const Half* p) {
    const __m128 four = _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return {_mm256_insertf128_ps(_mm256_castps128_ps256(four), four, 1)};
  }
  template <int i>
  Lanes all() const {
    return {_mm256_permute_ps(v, i * 0x55)};
  }
};

void widen16(const std::uint8_t* from, std::size_t base, std::uint16_t* to) {
  const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  const __m256i sum = _mm256_add_epi16(wide, _mm256_set1_epi16(static_cast<short>(base)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sum);
}

void widen16(const std::uint8_t* from, std::size_t base, std::uint32_t* to) {
  for (int i = 0; i < 16; i += 8) {
    const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + i)));
    const __m256i sum = _mm256_add_epi32(wide, _mm256_set1_epi32(static_cast<int>(base)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), sum);
  }
}

void transpose8(const float* const* from, std::size_t at, float* to, std::size_t stride) {
  __m256 r[8], s[8];
  for (int j = 0; j < 8; ++j) r[j] = _mm256_loadu_ps(from[j] + at);
  for (int j = 0; j < 8; j += 2) {
    s[j] = _mm256_unpacklo_ps(r[j], r[j + 1]);
    s[j + 1] = _mm256_unpackhi_ps(r[j], r[j + 1]);
  }
  for (int j = 0; j < 8; j += 4) {
    r[j] = _mm256_shuffle_ps(s[j], s[j + 2], 0x44);
    r[j + 1] = _mm256_shuffle_ps(s[j], s[j + 2], 0xee);
    r[j + 2] = _mm256_shuffle_ps(s[j + 1], s[j + 3], 0x44);
    r[j + 3] = _mm256_shuffle_ps(s[j + 1], s[j + 3], 0xee);
  }
  for (std::size_t j = 0; j < 4; ++j) {
    _mm256_storeu_ps(to + j * stride, _mm256_permute2f128_ps(r[j], r[j + 4], 0x20));
    _mm256_storeu_ps(to + (j + 4) * stride, _mm256_permute2f128_ps(r[j], r[j + 4], 0x31));
  }
}

void transpose(const float* const* from, std::size_t count, float* to, std::size_t stride) {
  std::size_t c = 0;
  for (; c + 8 <= count; c += 8) transpose8(from, c, to + c * stride, stride);
  for (; c < count; ++c)
    for (std::size_t j = 0; j < kCsrLanes; ++j) to[c * stride + j] = from[j][c];
}
