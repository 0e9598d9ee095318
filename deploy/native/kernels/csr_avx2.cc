// The sparse kernels in AVX2, FMA and F16C.
#include <immintrin.h>

#include "kernels/csr.h"

namespace dtc {
namespace {

#include "kernels/csr_lanes_avx2.h"

template <std::size_t vectors>
using FourOf = Four;

#include "kernels/csr_impl.h"

}  // namespace

const CsrKernels csr_kernels_avx2[kCsrValues][kCsrColumns] = {DTC_CSR_KERNELS(float), DTC_CSR_KERNELS(Half)};

}  // namespace dtc
