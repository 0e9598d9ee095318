#include "forms/scratch.h"

#include <cstdint>
#include <cstring>
#include <thread>

#include "tests/check.h"

using dtc::aligned;
using dtc::Scratch;

namespace {

TEST(scratch_is_aligned_and_of_its_size) {
  for (const std::size_t bytes : {0, 1, 63, 64, 1000, 3000000}) {
    const Scratch scratch(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(scratch.data()) % 64 == 0);
    std::memset(scratch.data(), 1, bytes);  // the address sanitizer sees what is too small
  }
}

TEST(scratch_is_kept_for_the_next) {
  const unsigned char* before;
  {
    const Scratch scratch(5000);
    before = scratch.data();
  }
  const Scratch smaller(4000);
  CHECK(smaller.data() == before);
}

TEST(scratch_within_scratch_is_another) {
  const Scratch outer(100);
  {
    const Scratch inner(50);
    std::memset(outer.data(), 1, 100);
    std::memset(inner.data(), 2, 50);
    for (std::size_t i = 0; i < 100; ++i) CHECK(outer.data()[i] == 1);
  }
  CHECK(outer.data()[99] == 1);
}

TEST(scratch_of_another_thread_is_another) {
  const Scratch here(100);
  const unsigned char* there = nullptr;
  std::thread([&] { there = Scratch(100).data(); }).join();
  CHECK(there != here.data());
}

TEST(sizes_are_rounded_up_to_whole_lines) {
  CHECK(aligned(0) == 0);
  CHECK(aligned(1) == 64);
  CHECK(aligned(64) == 64);
  CHECK(aligned(65) == 128);
}

}  // namespace
