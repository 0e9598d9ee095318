// Lookup in tables of 16 bits, of two digits.
#include "kernels/lut_avx512vnni.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Entries of two digits, each from -127 to 127 and the upper ones worth `kDigitBase`.
struct Table16 {
  static constexpr std::size_t bytes = 64, span_bytes = 64, spans_a_sum = 1;
  static constexpr int digits = 2, largest = 127 * kDigitBase + 127;
};

}  // namespace

const LutKernel kLut16Avx512 = {
    Table16::bytes, Table16::span_bytes, build_digits<Table16>, multiply_wide<DigitTables<Table16>>, 1.8, kColumns};

}  // namespace dtc
