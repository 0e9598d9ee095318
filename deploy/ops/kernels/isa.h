// Which instructions a kernel may use, decided once, when the library is first used.
#ifndef DTC_KERNELS_ISA_H_
#define DTC_KERNELS_ISA_H_

namespace dtc {

enum class Isa { scalar, avx2, neon };

/// The best that this processor has and that the library was built with; the environment variable DTC_OPS_ISA=scalar
/// asks for plain C++ (to compare, or to rule a kernel out).
Isa best_isa();

}  // namespace dtc

#endif  // DTC_KERNELS_ISA_H_
