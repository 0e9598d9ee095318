#include "kernels/csr.h"

#include <cstring>

#include "kernels/isa.h"

namespace dtc {

const CsrKernels& csr_kernels(CsrValue value, CsrColumn column) {
  const auto of = [&](const CsrKernels(&table)[kCsrValues][kCsrColumns]) -> const CsrKernels& {
    return table[static_cast<int>(value)][static_cast<int>(column)];
  };
#if defined(DTC_HAVE_AVX2)
  if (best_isa() == Isa::avx2) return of(csr_kernels_avx2);
#endif
#if defined(DTC_HAVE_NEON)
  if (best_isa() == Isa::neon) return of(csr_kernels_neon);
#endif
  return of(csr_kernels_scalar);
}

float csr_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t exponent = half >> 10 & 31, mantissa = half & 0x3ff;
  std::uint32_t bits = (exponent + 112) << 23 | mantissa << 13;
  float number;
  if (exponent == 0) {
    number = static_cast<float>(mantissa) * 0x1p-24f;
    std::memcpy(&bits, &number, sizeof bits);
  } else if (exponent == 31) {
    bits = 0x7f800000 | mantissa << 13;
  }
  bits |= sign;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

}  // namespace dtc
