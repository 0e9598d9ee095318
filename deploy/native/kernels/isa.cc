#include "kernels/isa.h"

#include <cstdlib>
#include <cstring>

#if defined(DTC_HAVE_AVX2)
#include <cpuid.h>
#endif
#if defined(DTC_HAVE_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(DTC_HAVE_NEON) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace dtc {
namespace {

bool asked_for(const char* name) {
  const char* asked = std::getenv("DTC_OPS_ISA");
  return asked != nullptr && std::strcmp(asked, name) == 0;
}

Isa detect() {
  if (asked_for("scalar") || asked_for("model")) return Isa::scalar;
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

#if defined(DTC_HAVE_AVX2)
/// A word of what CPUID tells under leaf 7. Compilers know neither GFNI nor AMX by name everywhere.
struct Leaf7 {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  Leaf7() { __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx); }
};

bool is_zen4() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(0, &eax, &ebx, &ecx, &edx);
  const bool amd = ebx == signature_AMD_ebx && ecx == signature_AMD_ecx && edx == signature_AMD_edx;
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  const unsigned family = (eax >> 8 & 15) + (eax >> 20 & 255);
  return amd && family == 25;  // Zen 3 too, which has no AVX-512
}

bool has_gfni() { return (Leaf7().ecx >> 8 & 1) != 0; }
#endif

#if defined(DTC_HAVE_AMX)
/// Linux gives a process the registers of AMX when it asks for them, once.
bool allowed_amx() {
  constexpr long ask = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, ask, tile_data) == 0;
}

bool detect_amx() {
  const unsigned features = Leaf7().edx;
  const bool tiles = (features >> 24 & 1) != 0, bytes = (features >> 25 & 1) != 0;
  return has_avx512_vnni() && tiles && bytes && !asked_for("avx512") && allowed_amx();
}
#endif

}  // namespace

Isa best_isa() {
  static const Isa isa = detect();
  return isa;
}

bool has_avx512_vnni() {
#if defined(DTC_HAVE_AVX2)
  static const bool has =
      detect_avx512() && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") && has_gfni();
  return has;
#else
  return false;
#endif
}

bool halves_avx512() {
#if defined(DTC_HAVE_AVX2)
  static const bool halves = detect_avx512() && is_zen4();
  return halves;
#else
  return false;
#endif
}

bool has_amx() {
#if defined(DTC_HAVE_AMX)
  static const bool has = detect_amx();
  return has;
#else
  return false;
#endif
}

bool has_neon_dot() {
#if defined(DTC_HAVE_NEON) && defined(__linux__)
  constexpr unsigned long dot = 1UL << 20;  // HWCAP_ASIMDDP
  static const bool has = detect() == Isa::neon && !asked_for("neon") && (getauxval(AT_HWCAP) & dot) != 0;
  return has;
#elif defined(DTC_HAVE_NEON) && defined(__APPLE__)
  static const bool has = detect() == Isa::neon && !asked_for("neon");  // every Mac with ARM has them
  return has;
#else
  return false;
#endif
}

bool models_tiles() {
  static const bool models = asked_for("model");
  return models;
}

bool has_avx512() {
  static const bool has = detect_avx512();
  return has;
}

}  // namespace dtc
