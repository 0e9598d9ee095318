// The forms in which a recurrent operator takes a weight.
#ifndef DTC_FORMS_RECURRENT_WEIGHTS_H_
#define DTC_FORMS_RECURRENT_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "forms/inputs.h"
#include "forms/matrix.h"

namespace dtc {

/// What the attributes of a node say of one of its weights.
struct WeightSettings {
  std::int64_t bits = 1;
  std::int64_t group_size = 8;
  std::int64_t accuracy_level = 1;
  std::int64_t codebook_level = 0;  ///< the same for codebooks, which were exact before there was a choice
};

/// Which part of a weight [directions * rows, cols] to make a matrix of.
struct Section {
  std::size_t direction = 0, directions = 1;
  std::size_t rows = 0, cols = 0;
};

struct RecurrentForm {
  const char* name;          ///< as it is in the names of operators
  bool for_input;            ///< whether W may have it
  std::vector<Type> arrays;  ///< of each the type, or none where there are several
  /// The matrix [rows, cols] of one direction, which reads the arrays in place. Throws Error where they do not fit.
  std::unique_ptr<Matrix> (*make)(const std::vector<Tensor>& arrays, const Section& section,
                                  const WeightSettings& settings);
};

/// All of them; arrays and attributes are described in recurrent_weights.py.
const std::vector<RecurrentForm>& recurrent_forms();

}  // namespace dtc

#endif  // DTC_FORMS_RECURRENT_WEIGHTS_H_
