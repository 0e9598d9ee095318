#include "kernels/codebook_words_x86.h"
// The kernels are written on those vectors.
#include "kernels/codebook_impl.h"

namespace dtc {

extern const CodebookKernels codebook_avx512;
const CodebookKernels codebook_avx512 = {codebook_decode, codebook_multiply, nullptr};

}  // namespace dtc
