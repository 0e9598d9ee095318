// How many pieces a piece of work is divided into.
#ifndef DTC_FORMS_PIECES_H_
#define DTC_FORMS_PIECES_H_

#include <cstddef>

#include "forms/parallel.h"

namespace dtc {

/// Pieces for work that takes one thread about this long: 20 us each or more, below which waking a thread costs more
/// than it saves, and no more than 8, as the number of threads is not known.
inline std::size_t pieces_for(double microseconds) {
  const double pieces = microseconds / 20;
  return pieces < 2 ? 1 : pieces > 8 ? 8 : static_cast<std::size_t>(pieces);
}

/// The `piece`-th of `pieces` parts of rows, each but the last of a multiple of the 4 rows that kernels take at once.
inline Range rows_of(std::size_t rows, std::size_t pieces, std::size_t piece) {
  const Range fours = part_of((rows + 3) / 4, pieces, piece);
  const auto within = [rows](std::size_t row) { return row < rows ? row : rows; };
  return {within(fours.begin * 4), within(fours.end * 4)};
}

}  // namespace dtc

#endif  // DTC_FORMS_PIECES_H_
