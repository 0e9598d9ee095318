// Work shared among ONNX Runtime's own threads; the library starts none.
#ifndef DTC_FORMS_PARALLEL_H_
#define DTC_FORMS_PARALLEL_H_

#include <cstddef>

namespace dtc {

/// Runs independent pieces of work, in any order and on any thread of the pool it was made of.
class Parallel {
 public:
  using Task = void (*)(void* data, std::size_t piece);
  using ForEach = void (*)(void* pool, Task task, std::size_t pieces, void* data);

  /// Runs everything on the calling thread.
  Parallel() = default;
  Parallel(ForEach for_each, void* pool) : for_each_(for_each), pool_(pool) {}

  /// Calls body(piece) for every piece below `pieces`; returns when all are done. `body` must not throw.
  template <typename Body>
  void operator()(std::size_t pieces, const Body& body) const {
    if (for_each_ == nullptr || pieces < 2) {
      for (std::size_t piece = 0; piece < pieces; ++piece) body(piece);
      return;
    }
    const auto task = [](void* data, std::size_t piece) { (*static_cast<const Body*>(data))(piece); };
    for_each_(pool_, task, pieces, const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  ForEach for_each_ = nullptr;
  void* pool_ = nullptr;
};

/// A range of rows or of blocks.
struct Range {
  std::size_t begin, end;
};

/// The `piece`-th of `pieces` nearly equal parts of [0, total).
inline Range part_of(std::size_t total, std::size_t pieces, std::size_t piece) {
  const std::size_t base = total / pieces, more = total % pieces;
  const std::size_t begin = piece * base + (piece < more ? piece : more);
  return {begin, begin + base + (piece < more ? 1 : 0)};
}

}  // namespace dtc

#endif  // DTC_FORMS_PARALLEL_H_
