// Memory for the time of a call.
#ifndef DTC_FORMS_SCRATCH_H_
#define DTC_FORMS_SCRATCH_H_

#include <cstddef>
#include <memory>

namespace dtc {

/// Bytes for a short while, aligned to 64. They are the thread's own from one time to the next: memory that is given
/// back to the system comes anew page by page, which took 80 us of a product of 400 us.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  unsigned char* data() const { return data_; }

 private:
  std::size_t size_;
  std::unique_ptr<unsigned char[]> memory_;
  unsigned char* data_;
};

/// Bytes rounded up, so that what follows them is aligned too.
constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace dtc

#endif  // DTC_FORMS_SCRATCH_H_
