// Which instructions a kernel may use, decided once, when the library is first used.
#ifndef DTC_KERNELS_ISA_H_
#define DTC_KERNELS_ISA_H_

namespace dtc {

enum class Isa { scalar, avx2, neon };

/// The best that this processor has and that the library was built with; the environment variable DTC_OPS_ISA=scalar
/// asks for plain C++ (to compare, or to rule a kernel out).
Isa best_isa();

/// Whether kernels that have more than AVX2 in them (AVX-512 F, BW, DQ and VL) may be used where best_isa() is avx2;
/// DTC_OPS_ISA=avx2 rules them out.
bool has_avx512();

/// Likewise, with VBMI, VNNI and GFNI besides: from Intel's Ice Lake and AMD's Zen 4 on.
bool has_avx512_vnni();

/// Likewise, with AMX for signed bytes besides, which the system has to allow: from Intel's Sapphire Rapids on.
/// DTC_OPS_ISA=avx512 rules it out.
bool has_amx();

/// Whether 512 bits are computed half by half, so that their products take twice as long as lookups (AMD's Zen 4).
bool halves_avx512();

/// Whether kernels with the dot product instructions of ARMv8.2 may be used where best_isa() is neon; DTC_OPS_ISA=neon
/// rules them out.
bool has_neon_dot();

/// Whether plain C++ with a model of AMX's instructions was asked for (DTC_OPS_ISA=model), to test what is around them.
bool models_tiles();

}  // namespace dtc

#endif  // DTC_KERNELS_ISA_H_
