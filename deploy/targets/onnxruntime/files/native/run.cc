// Runs the model of a bundle in ONNX Runtime from C++: run_cc BUNDLE [SECONDS].
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "onnxruntime_c.h"
#include "vectors.h"

namespace {

const OrtApi* ort = nullptr;

void check(OrtStatus* status) {
  if (status == nullptr) return;
  const std::string message = ort->GetErrorMessage(status);
  ort->ReleaseStatus(status);
  throw std::runtime_error(message);
}

/// Calls what releases an object of ONNX Runtime.
template <typename T, void (*OrtApi::* release)(T*)>
struct Release {
  void operator()(T* object) const { (ort->*release)(object); }
};

template <typename T, void (*OrtApi::* release)(T*)>
using Owned = std::unique_ptr<T, Release<T, release>>;

using Env = Owned<OrtEnv, &OrtApi::ReleaseEnv>;
using Options = Owned<OrtSessionOptions, &OrtApi::ReleaseSessionOptions>;
using Session = Owned<OrtSession, &OrtApi::ReleaseSession>;
using Value = Owned<OrtValue, &OrtApi::ReleaseValue>;
using MemoryInfo = Owned<OrtMemoryInfo, &OrtApi::ReleaseMemoryInfo>;
using TensorInfo = Owned<OrtTensorTypeAndShapeInfo, &OrtApi::ReleaseTensorTypeAndShapeInfo>;

/// Returns what a function of the interface makes, as its last argument.
template <typename T, typename Function, typename... Arguments>
T made(Function function, Arguments... arguments) {
  T result{};
  check(function(arguments..., &result));
  return result;
}

class LoadedModel {
 public:
  explicit LoadedModel(const std::string& bundle) {
    environment_.reset(made<OrtEnv*>(ort->CreateEnv, ORT_LOGGING_LEVEL_ERROR, "run"));
    options_.reset(made<OrtSessionOptions*>(ort->CreateSessionOptions));
    check(ort->SetIntraOpNumThreads(options_.get(), 1));
    std::ifstream listed(bundle + "/lib/libraries.txt");
    for (std::string name; std::getline(listed, name);) {
      made<void*>(ort->RegisterCustomOpsLibrary, options_.get(), (bundle + "/lib/" + name).c_str());
    }
    std::string path(bundle.size() + sizeof "/model.onnx", '\0');
    find_model(bundle.c_str(), path.data(), path.size());
    session_.reset(made<OrtSession*>(ort->CreateSession, environment_.get(), path.c_str(), options_.get()));
    memory_.reset(made<OrtMemoryInfo*>(ort->CreateCpuMemoryInfo, OrtDeviceAllocator, OrtMemTypeDefault));
    auto* allocator = made<OrtAllocator*>(ort->GetAllocatorWithDefaultOptions);
    const auto* session = static_cast<const OrtSession*>(session_.get());
    for (std::size_t i = 0; i < made<std::size_t>(ort->SessionGetInputCount, session); i++) {
      inputs_.push_back(made<char*>(ort->SessionGetInputName, session, i, allocator));
    }
    for (std::size_t i = 0; i < made<std::size_t>(ort->SessionGetOutputCount, session); i++) {
      outputs_.push_back(made<char*>(ort->SessionGetOutputName, session, i, allocator));
    }
  }

  std::size_t inputs() const { return inputs_.size(); }
  std::size_t outputs() const { return outputs_.size(); }

  void run(const Array* inputs, Array* outputs) {
    std::vector<Value> given;
    std::vector<const OrtValue*> values;
    for (std::size_t i = 0; i < inputs_.size(); i++) {
      const Array& in = inputs[i];
      given.emplace_back(made<OrtValue*>(ort->CreateTensorWithDataAsOrtValue, memory_.get(), in.data, in.bytes, in.shape,
                                         in.rank, static_cast<ONNXTensorElementDataType>(in.type)));
      values.push_back(given.back().get());
    }
    std::vector<OrtValue*> found(outputs_.size(), nullptr);
    check(ort->Run(session_.get(), nullptr, inputs_.data(), values.data(), values.size(), outputs_.data(), found.size(),
                   found.data()));
    last_.clear();
    for (std::size_t i = 0; i < found.size(); i++) {
      last_.emplace_back(found[i]);
      outputs[i] = view(found[i]);
    }
  }

 private:
  static Array view(OrtValue* value) {
    Array array{};
    const TensorInfo info(made<OrtTensorTypeAndShapeInfo*>(ort->GetTensorTypeAndShape, value));
    array.type = static_cast<int>(made<ONNXTensorElementDataType>(ort->GetTensorElementType, info.get()));
    array.rank = made<std::size_t>(ort->GetDimensionsCount, info.get());
    if (array.rank > kMaxRank) throw std::runtime_error("an output has more than 8 dimensions");
    check(ort->GetDimensions(info.get(), array.shape, array.rank));
    array.count = 1;
    for (std::size_t i = 0; i < array.rank; i++) array.count *= static_cast<std::size_t>(array.shape[i]);
    array.data = made<void*>(ort->GetTensorMutableData, value);
    return array;
  }

  Env environment_;
  Options options_;
  Session session_;
  MemoryInfo memory_;
  std::vector<const char*> inputs_, outputs_;
  std::vector<Value> last_;
};

const char* run(void* self, const Array* inputs, Array* outputs) {
  static std::string problem;
  try {
    static_cast<LoadedModel*>(self)->run(inputs, outputs);
    return nullptr;
  } catch (const std::exception& error) {
    problem = error.what();
    return problem.c_str();
  }
}

}  // namespace

int main(int count, char** arguments) {
  const OrtApiBase* base = OrtGetApiBase();
  ort = base->GetApi(ORT_API_VERSION);
  if (count < 2 || ort == nullptr) {
    std::fputs(count < 2 ? "usage: run_cc BUNDLE [SECONDS]\n" : "this ONNX Runtime is older than the program\n", stderr);
    return 2;
  }
  try {
    const long long idle = resident("VmRSS:");
    const double start = now();
    LoadedModel loaded(arguments[1]);
    const double taken = now() - start;
    const Model model = {&loaded, loaded.inputs(), loaded.outputs(), run};
    const std::string runtime = std::string("ONNX Runtime ") + base->GetVersionString() + ", C++";
    return try_model(&model, arguments[1], count > 2 ? std::atof(arguments[2]) : 0, runtime.c_str(), taken, idle);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
