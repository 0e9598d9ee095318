#include "kernels/isa.h"

#include <cstdlib>
#include <cstring>

namespace dtc {
namespace {

Isa detect() {
  const char* asked = std::getenv("DTC_OPS_ISA");
  if (asked != nullptr && std::strcmp(asked, "scalar") == 0) return Isa::scalar;
#if defined(DTC_HAVE_AVX2)
  // f16c is not asked for by name: every processor with AVX2 has it.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
#if defined(DTC_HAVE_NEON)
  return Isa::neon;  // every 64-bit ARM has it
#else
  return Isa::scalar;
#endif
}

}  // namespace

Isa best_isa() {
  static const Isa isa = detect();
  return isa;
}

}  // namespace dtc
