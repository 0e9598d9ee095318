// What binary codes are made of, checked: the shapes of their arrays and attributes.
#ifndef DTC_FORMS_BINARY_CODES_H_
#define DTC_FORMS_BINARY_CODES_H_

#include <cstddef>
#include <cstdint>

#include "forms/inputs.h"

namespace dtc {

/// The sizes of a weight [rows, cols] of sign planes with coefficients.
struct BinaryShape {
  std::size_t bits;         ///< sign planes
  std::size_t rows, cols;   ///< of the weight
  std::size_t positions;    ///< code bytes of a row and plane: ceil(cols / 8)
  std::size_t groups;       ///< runs of columns with coefficients of their own
  std::size_t group_bytes;  ///< byte positions of a group, but perhaps of the last
  bool masked;              ///< one plane more, where bit 0 is a weight of 0
  bool constant;            ///< one coefficient more, the constant term
  bool half;                ///< coefficients are float16

  std::size_t planes() const { return bits + (masked ? 1 : 0); }
  std::size_t terms() const { return bits + (constant ? 1 : 0); }
};

/// The shape of codes in blocks of 32 rows: codes [planes, rows * positions], alphas [terms, groups, rows].
///
/// Throws Error where arrays and attributes do not agree: what is returned describes only what the arrays hold.
BinaryShape blocked_shape(const Tensor& codes, const Tensor& alphas, std::int64_t bits, std::int64_t in_features,
                          std::int64_t group_size);

/// The shape of codes row after row: codes [planes, rows, positions], alphas [terms, rows, groups]. Throws likewise.
BinaryShape canonical_shape(const Tensor& codes, const Tensor& alphas, std::int64_t bits, std::int64_t in_features,
                            std::int64_t group_size);

}  // namespace dtc

#endif  // DTC_FORMS_BINARY_CODES_H_
