// How many pieces a piece of work is divided into.
#ifndef DTC_PIECES_H_
#define DTC_PIECES_H_

#include <cstddef>

namespace dtc {

/// Pieces for work that takes one thread about this long: 20 us each or more, below which waking a thread costs more
/// than it saves, and no more than 8, as the number of threads is not known.
inline std::size_t pieces_for(double microseconds) {
  const double pieces = microseconds / 20;
  return pieces < 2 ? 1 : pieces > 8 ? 8 : static_cast<std::size_t>(pieces);
}

}  // namespace dtc

#endif  // DTC_PIECES_H_
