#include "forms/scratch.h"

#include <cstdint>
#include <utility>

namespace dtc {
namespace {

/// More is not kept.
constexpr std::size_t kMost = 1024 * 1024;

/// What this thread has and nobody uses: a call within a call finds nothing here and allocates.
struct Kept {
  std::size_t size = 0;
  std::unique_ptr<unsigned char[]> memory;
};
thread_local Kept kept;

}  // namespace

Scratch::Scratch(std::size_t bytes) : size_(std::exchange(kept.size, 0)), memory_(std::move(kept.memory)) {
  if (size_ < bytes + 63) {
    memory_.reset();
    memory_.reset(new unsigned char[bytes + 63]);
    size_ = bytes + 63;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
  data_ = memory_.get() + (64 - address % 64) % 64;
}

Scratch::~Scratch() {
  if (size_ > kMost || size_ < kept.size) return;
  kept.size = size_;
  kept.memory = std::move(memory_);
}

}  // namespace dtc
