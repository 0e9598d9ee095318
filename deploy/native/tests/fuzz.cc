// Makes nodes of random bytes and runs them: valid ones, which must write all their output and do so twice alike, and
// damaged ones, which must be refused by an Error. Built with sanitizers, which tell everything else.
//
//   dtc_ops_fuzz SECONDS [SEED]      one example a number, counted up from the seed; at the end says how many
//
// With clang there is a target for libFuzzer besides, dtc_ops_libfuzzer, which takes what bytes it likes.

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>

#include "tests/fuzz_forms.h"

namespace dtc::testing {
namespace {

constexpr std::size_t kMostOutput = 1 << 22;
constexpr std::uint32_t kUnwritten = 0x7fc5a5a5;  // a NaN that no arithmetic gives

[[noreturn]] void fail(const Example& example, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", example.name.c_str(), what.c_str());
  std::abort();
}

/// The node, as a session sees it; `held` inputs have values already.
class FakeNode : public Node {
 public:
  FakeNode(const Example& example, const std::vector<bool>& held) : example_(example), held_(held) {}

  std::int64_t integer(const char* name) const override {
    const auto found = example_.integers.find(name);
    require(found != example_.integers.end(), std::string("attribute ") + name + " is missing");
    return found->second;
  }
  std::int64_t integer(const char* name, std::int64_t fallback) const override {
    const auto found = example_.integers.find(name);
    return found == example_.integers.end() ? fallback : found->second;
  }
  float real(const char* name, float fallback) const override {
    const auto found = example_.reals.find(name);
    return found == example_.reals.end() ? fallback : found->second;
  }
  std::string string(const char* name, const char* fallback) const override {
    const auto found = example_.strings.find(name);
    return found == example_.strings.end() ? fallback : found->second;
  }
  std::size_t input_count() const override { return example_.inputs.size(); }
  std::optional<Tensor> constant(std::size_t index) const override {
    if (index >= held_.size() || !held_[index] || example_.inputs[index].type() == Type::none) return std::nullopt;
    return example_.inputs[index].view();
  }

 private:
  const Example& example_;
  const std::vector<bool>& held_;
};

/// A run, whose pieces of work come in the order of their numbers or the other way round.
class FakeRun : public Run {
 public:
  FakeRun(const Example& example, bool backwards) : example_(example), backwards_(backwards) {}

  std::size_t input_count() const override { return example_.inputs.size(); }
  Tensor input(std::size_t index) const override {
    if (index >= example_.inputs.size() || example_.inputs[index].type() == Type::none) return {};
    return example_.inputs[index].view();
  }
  float* output(std::size_t index, const Shape& shape) override {
    std::size_t count = 1;
    for (const std::int64_t dim : shape) {
      require(dim >= 0 && (count == 0 || static_cast<std::size_t>(dim) <= kMostOutput / count), "too large an output");
      count *= static_cast<std::size_t>(dim);
    }
    if (outputs_.size() <= index) outputs_.resize(index + 1);
    outputs_[index] = Array(Type::f32, shape);
    for (std::size_t i = 0; i < count; ++i) std::memcpy(outputs_[index].data() + 4 * i, &kUnwritten, 4);
    return reinterpret_cast<float*>(outputs_[index].data());
  }
  Parallel parallel() const override {
    if (!backwards_) return {};
    return {[](void*, Parallel::Task task, std::size_t pieces, void* data) {
              while (pieces > 0) task(data, --pieces);
            },
            nullptr};
  }

  std::vector<Array>& outputs() { return outputs_; }

 private:
  const Example& example_;
  bool backwards_;
  std::vector<Array> outputs_;
};

/// The node before it runs, without the dimensions of some of its inputs.
class FakeInference : public Inference {
 public:
  FakeInference(const Example& example, std::uint64_t unknown) : example_(example), unknown_(unknown) {}

  std::optional<Dims> input(std::size_t index) const override {
    if (index >= example_.inputs.size() || (unknown_ >> index % 64 & 1) != 0) return std::nullopt;
    Dims dims;
    for (const std::int64_t size : example_.inputs[index].shape()) {
      dims.push_back(size % 5 == 4 ? Dim{-1, "some"} : size % 5 == 3 ? Dim{} : Dim{size, ""});
    }
    return dims;
  }
  std::optional<std::int64_t> integer(const char* name) const override {
    const auto found = example_.integers.find(name);
    return found == example_.integers.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<std::string> string(const char* name) const override {
    const auto found = example_.strings.find(name);
    return found == example_.strings.end() ? std::nullopt : std::optional(found->second);
  }
  void output(std::size_t, const Dims&) override {}

 private:
  const Example& example_;
  std::uint64_t unknown_;
};

/// The outputs, none if the node is refused, for which there is a `reason`.
std::optional<std::vector<Array>> run(const Operator& op, const Example& example, const std::vector<bool>& held,
                                      bool backwards, std::string& reason) {
  try {
    const std::unique_ptr<Kernel> kernel = op.create(FakeNode(example, held));
    FakeRun run(example, backwards);
    kernel->compute(run);
    return std::move(run.outputs());
  } catch (const Error& error) {
    reason = error.what();
  } catch (const std::bad_alloc& error) {  // of a size that an attribute says; ONNX Runtime is told
    reason = error.what();
  }
  return std::nullopt;
}

void check_written(const Example& example, const std::vector<Array>& outputs) {
  for (const Array& output : outputs) {
    for (std::size_t index = 0; index < output.view().count; ++index) {
      if (output.view().as<std::uint32_t>()[index] == kUnwritten) fail(example, "an output is not written");
    }
  }
}

void check_alike(const Example& example, const std::vector<Array>& one, const std::vector<Array>& other) {
  bool alike = one.size() == other.size();
  for (std::size_t index = 0; alike && index < one.size(); ++index) {
    alike = one[index].shape() == other[index].shape() &&
            (one[index].bytes() == 0 ||
             std::memcmp(one[index].view().data, other[index].view().data, one[index].bytes()) == 0);
  }
  if (!alike) fail(example, "a second run gives something else");
}

}  // namespace

void fuzz_one(const std::uint8_t* data, std::size_t size) {
  Source source(data, size);
  const Operator& op = operators()[source.below(operators().size())];
  Example example = example_of(op.name, op.inputs.size(), source);
  const std::uint64_t damages = source.chance(60) ? 0 : 1 + source.below(3);
  for (std::uint64_t i = 0; i < damages; ++i) damage(example, source);

  FakeInference inference(example, source.chance(50) ? 0 : source.word());
  op.infer(inference);
  std::vector<bool> held(example.inputs.size(), source.chance(60));
  if (source.chance(20)) {
    for (std::size_t index = 0; index < held.size(); ++index) held[index] = source.chance(50);
  }
  std::string reason;
  const auto outputs = run(op, example, held, false, reason);
  if (!outputs && damages == 0) fail(example, "what is valid is refused: " + reason);
  if (!outputs) return;
  check_written(example, *outputs);
  held.flip();
  const auto again = run(op, example, held, true, reason);
  if (!again) fail(example, "a second run is refused: " + reason);
  check_alike(example, *outputs, *again);
}

}  // namespace dtc::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dtc::testing::fuzz_one(data, size);
  return 0;
}

#ifndef DTC_OPS_LIBFUZZER

// So that whatever goes wrong is a signal that can be caught.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() { return "abort_on_error=1"; }
extern "C" __attribute__((visibility("default"))) const char* __ubsan_default_options() { return "abort_on_error=1"; }

namespace {

unsigned long long current;  // the example at hand

void tell() { std::fprintf(stderr, "that was example %llu: dtc_ops_fuzz 0 %llu\n", current, current); }

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::strtod(argv[1], nullptr) : 10;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device{}();
  std::printf("from example %llu on\n", static_cast<unsigned long long>(seed));
  std::signal(SIGABRT, [](int) { tell(); });
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t count = 0;
  do {
    current = seed + count++;
    std::mt19937_64 random(current);
    std::uint64_t bytes[64];
    for (std::uint64_t& each : bytes) each = random();
    dtc::testing::fuzz_one(reinterpret_cast<const std::uint8_t*>(bytes), sizeof(bytes));
  } while (std::chrono::steady_clock::now() - begin < std::chrono::duration<double>(seconds));
  std::printf("%llu examples\n", static_cast<unsigned long long>(count));
  return 0;
}

#endif  // DTC_OPS_LIBFUZZER
