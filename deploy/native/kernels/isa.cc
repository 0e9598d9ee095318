#include "kernels/isa.h"

#include <cstdlib>
#include <cstring>

namespace dtc {
namespace {

bool asked_for(const char* name) {
  const char* asked = std::getenv("DTC_OPS_ISA");
  return asked != nullptr && std::strcmp(asked, name) == 0;
}

Isa detect() {
  if (asked_for("scalar")) return Isa::scalar;
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

bool detect_avx512() {
#if defined(DTC_HAVE_AVX2)
  return detect() == Isa::avx2 && !asked_for("avx2") && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

}  // namespace

Isa best_isa() {
  static const Isa isa = detect();
  return isa;
}

bool has_avx512_vnni() {
#if defined(DTC_HAVE_AVX2)
  static const bool has =
      detect_avx512() && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
  return has;
#else
  return false;
#endif
}

bool has_avx512() {
  static const bool has = detect_avx512();
  return has;
}

}  // namespace dtc
