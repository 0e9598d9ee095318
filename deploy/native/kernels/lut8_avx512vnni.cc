// Lookup in tables of 8 bits.
#include "kernels/lut_avx512vnni.h"
#include "kernels/lut_tables.h"

namespace dtc {
namespace {

/// Entries of one digit. A scale of its own for every 256 inputs: less of an error than one a row where x has outliers.
/// They are whole multiples of one unit, so that the sums of all spans are added as whole numbers.
struct Table8 {
  static constexpr std::size_t bytes = 32, span_bytes = 32, spans_a_sum = 1024;
  static constexpr int digits = 1, largest = 127;
};

}  // namespace

const LutKernel kLut8Avx512 = {
    Table8::bytes, Table8::span_bytes, build_digits<Table8>, multiply_wide<DigitTables<Table8>>, 1.0, kColumns};

}  // namespace dtc
