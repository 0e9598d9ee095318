// The operators, as ONNX Runtime sees them.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include "ort/abi.h"
#include "ort/operator.h"

namespace dtc {
namespace {

using namespace abi;

/// The API at hand; throws Error where one of its functions fails.
class Api {
 public:
  explicit Api(const OrtApi* api) : api_(api) {}

  template <typename Signature, typename... Arguments>
  void check(Signature function, Arguments... arguments) const {
    const std::string problem = attempt(function, arguments...);
    if (!problem.empty()) throw Error(problem);
  }

  /// Returns what is wrong, empty if nothing is.
  template <typename Signature, typename... Arguments>
  std::string attempt(Signature function, Arguments... arguments) const {
    OrtStatus* status = call(api_, function, arguments...);
    if (status == nullptr) return {};
    std::string message = call(api_, GetErrorMessage{}, status);
    call(api_, ReleaseStatus{}, status);
    return message.empty() ? "unknown error" : message;
  }

  OrtStatus* status(int code, const std::string& message) const {
    return call(api_, CreateStatus{}, code, message.c_str());
  }

  void release(OrtTensorTypeAndShapeInfo* info) const { call(api_, ReleaseTensorTypeAndShapeInfo{}, info); }

 private:
  const OrtApi* api_;
};

Shape shape_of(const Api& api, const OrtTensorTypeAndShapeInfo* info) {
  std::size_t rank = 0;
  api.check(GetDimensionsCount{}, info, &rank);
  Shape dims(rank);
  api.check(GetDimensions{}, info, dims.data(), rank);
  return dims;
}

/// A description of a tensor, released with this object.
class Description {
 public:
  Description(const Api& api, OrtTensorTypeAndShapeInfo* info) : api_(api), info_(info) {}
  ~Description() { api_.release(info_); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  Shape shape() const { return shape_of(api_, info_); }

  Type type() const {
    int type = 0;
    api_.check(GetTensorElementType{}, info_, &type);
    return static_cast<Type>(type);
  }

 private:
  const Api& api_;
  OrtTensorTypeAndShapeInfo* info_;
};

Tensor tensor_of(const Api& api, const OrtValue* value) {
  if (value == nullptr) return {};
  OrtTensorTypeAndShapeInfo* info = nullptr;
  api.check(GetTensorTypeAndShape{}, value, &info);
  const Description description(api, info);
  Tensor tensor{description.type(), description.shape(), nullptr, 1};
  for (const std::int64_t dim : tensor.shape) tensor.count *= static_cast<std::size_t>(dim);
  void* data = nullptr;
  api.check(GetTensorMutableData{}, const_cast<OrtValue*>(value), &data);
  tensor.data = data;
  return tensor;
}

class OrtNode : public Node {
 public:
  OrtNode(const Api& api, const OrtKernelInfo* info) : api_(api), info_(info) {}

  std::int64_t integer(const char* name) const override {
    std::int64_t value = 0;
    const std::string problem = api_.attempt(KernelInfoGetAttributeInt{}, info_, name, &value);
    require(problem.empty(), std::string("attribute ") + name + ": " + problem);
    return value;
  }
  std::int64_t integer(const char* name, std::int64_t fallback) const override {
    std::int64_t value = 0;
    return api_.attempt(KernelInfoGetAttributeInt{}, info_, name, &value).empty() ? value : fallback;
  }
  float real(const char* name, float fallback) const override {
    float value = 0;
    return api_.attempt(KernelInfoGetAttributeFloat{}, info_, name, &value).empty() ? value : fallback;
  }
  std::string string(const char* name, const char* fallback) const override {
    std::size_t size = 0;
    // The first call tells the size, with the null at the end; as an error in some versions and as none in others.
    api_.attempt(KernelInfoGetAttributeString{}, info_, name, static_cast<char*>(nullptr), &size);
    if (size == 0) return fallback;
    std::string value(size, '\0');
    if (!api_.attempt(KernelInfoGetAttributeString{}, info_, name, value.data(), &size).empty()) return fallback;
    value.resize(size - 1);
    return value;
  }
  std::size_t input_count() const override {
    std::size_t count = 0;
    api_.check(KernelInfoGetInputCount{}, info_, &count);
    return count;
  }
  std::optional<Tensor> constant(std::size_t index) const override {
    int is_constant = 0;
    const OrtValue* value = nullptr;
    api_.check(KernelInfoGetConstantInput{}, info_, index, &is_constant, &value);
    if (is_constant == 0 || value == nullptr) return std::nullopt;
    return tensor_of(api_, value);
  }

 private:
  const Api& api_;
  const OrtKernelInfo* info_;
};

class OrtRun : public Run {
 public:
  OrtRun(const Api& api, OrtKernelContext* context) : api_(api), context_(context) {}

  std::size_t input_count() const override {
    std::size_t count = 0;
    api_.check(KernelContextGetInputCount{}, context_, &count);
    return count;
  }
  Tensor input(std::size_t index) const override {
    if (index >= input_count()) return {};
    const OrtValue* value = nullptr;
    api_.check(KernelContextGetInput{}, context_, index, &value);
    return tensor_of(api_, value);
  }
  float* output(std::size_t index, const Shape& shape) override {
    std::size_t count = 0;
    api_.check(KernelContextGetOutputCount{}, context_, &count);
    if (index >= count) return nullptr;
    OrtValue* value = nullptr;
    api_.check(KernelContextGetOutput{}, context_, index, shape.data(), shape.size(), &value);
    if (value == nullptr) return nullptr;
    void* data = nullptr;
    api_.check(GetTensorMutableData{}, value, &data);
    return static_cast<float*>(data);
  }
  Parallel parallel() const override {
    const auto for_each = [](void* self, Parallel::Task task, std::size_t pieces, void* data) {
      const auto* run = static_cast<const OrtRun*>(self);
      const std::string problem = run->api_.attempt(KernelContextParallelFor{}, run->context_, task, pieces, 0, data);
      if (!problem.empty()) throw Error(problem);
    };
    return Parallel(for_each, const_cast<OrtRun*>(this));
  }

 private:
  const Api& api_;
  OrtKernelContext* context_;
};

class OrtInference : public Inference {
 public:
  OrtInference(const Api& api, OrtShapeInferContext* context) : api_(api), context_(context) {}

  std::optional<Dims> input(std::size_t index) const override {
    std::size_t count = 0;
    api_.check(ShapeInferGetInputCount{}, context_, &count);
    if (index >= count) return std::nullopt;
    OrtTensorTypeAndShapeInfo* info = nullptr;
    if (!api_.attempt(ShapeInferGetInputTypeShape{}, context_, index, &info).empty() || info == nullptr) {
      return std::nullopt;
    }
    const Shape sizes = shape_of(api_, info);  // the context keeps `info`
    std::vector<const char*> names(sizes.size(), "");
    api_.check(GetSymbolicDimensions{}, info, names.data(), names.size());
    Dims dims;
    for (std::size_t axis = 0; axis < sizes.size(); ++axis) dims.push_back({sizes[axis], names[axis]});
    return dims;
  }
  std::optional<std::int64_t> integer(const char* name) const override {
    const OrtOpAttr* attribute = nullptr;
    std::int64_t value = 0;
    std::size_t size = 0;
    if (!api_.attempt(ShapeInferGetAttribute{}, context_, name, &attribute).empty()) return std::nullopt;
    const std::string problem = api_.attempt(ReadOpAttr{}, attribute, kAttributeInt, &value, sizeof(value), &size);
    return problem.empty() ? std::optional(value) : std::nullopt;
  }
  std::optional<std::string> string(const char* name) const override {
    const OrtOpAttr* attribute = nullptr;
    char value[64] = {};
    std::size_t size = 0;
    if (!api_.attempt(ShapeInferGetAttribute{}, context_, name, &attribute).empty()) return std::nullopt;
    const std::string problem =
        api_.attempt(ReadOpAttr{}, attribute, kAttributeString, value, sizeof(value) - 1, &size);
    return problem.empty() ? std::optional(std::string(value)) : std::nullopt;
  }
  void output(std::size_t index, const Dims& dims) override {
    Shape sizes;
    std::vector<const char*> names;
    for (const Dim& dim : dims) {
      if (!dim.known()) return;
      sizes.push_back(dim.size);
      names.push_back(dim.size >= 0 ? "" : dim.name.c_str());
    }
    OrtTensorTypeAndShapeInfo* info = nullptr;
    api_.check(CreateTensorTypeAndShapeInfo{}, &info);
    const Description description(api_, info);
    api_.check(SetTensorElementType{}, info, kFloat);
    api_.check(SetDimensions{}, info, sizes.data(), sizes.size());
    api_.check(SetSymbolicDimensions{}, info, names.data(), names.size());
    api_.check(ShapeInferSetOutputTypeShape{}, context_, index, info);
  }

 private:
  const Api& api_;
  OrtShapeInferContext* context_;
};

/// Runs `body`, and makes a status of what it throws: nothing may leave the library but statuses.
template <typename Body>
OrtStatus* guarded(const Api& api, const std::string& name, const Body& body) {
  try {
    body();
    return nullptr;
  } catch (const Error& error) {
    return api.status(kInvalidArgument, "dtc." + name + ": " + error.what());
  } catch (const std::exception& error) {  // memory that is not to be had
    return api.status(kFail, "dtc." + name + ": " + error.what());
  } catch (...) {
    return api.status(kFail, "dtc." + name + ": unknown failure");
  }
}

struct CustomOp : OrtCustomOp {
  CustomOp(const OrtApi* given_api, const Operator& given_operator, bool infers_without_inputs);

  Api api;
  const Operator& op;
};

/// A kernel with what its compute function needs; ONNX Runtime holds it as void*.
struct HeldKernel {
  const CustomOp* owner;
  std::unique_ptr<Kernel> kernel;
};

const CustomOp& self(const OrtCustomOp* op) { return *static_cast<const CustomOp*>(op); }

OrtStatus* create_kernel(const OrtCustomOp* op, const OrtApi*, const OrtKernelInfo* info, void** out) {
  const CustomOp& own = self(op);
  return guarded(own.api, own.op.name, [&] {
    const OrtNode node(own.api, info);
    *out = new HeldKernel{&own, own.op.create(node)};
  });
}

OrtStatus* compute(void* kernel, OrtKernelContext* context) {
  const auto* held = static_cast<const HeldKernel*>(kernel);
  return guarded(held->owner->api, held->owner->op.name, [&] {
    OrtRun run(held->owner->api, context);
    held->kernel->compute(run);
  });
}

OrtStatus* infer_shapes(const OrtCustomOp* op, OrtShapeInferContext* context) {
  const CustomOp& own = self(op);
  return guarded(own.api, own.op.name, [&] {
    OrtInference inference(own.api, context);
    own.op.infer(inference);
  });
}

CustomOp::CustomOp(const OrtApi* given_api, const Operator& given_operator, bool infers_without_inputs)
    : OrtCustomOp{}, api(given_api), op(given_operator) {
  version = kApiVersion;
  GetName = [](const OrtCustomOp* each) { return self(each).op.name.c_str(); };
  GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };  // the CPU
  GetInputType = [](const OrtCustomOp* each, std::size_t index) {
    return static_cast<int>(self(each).op.inputs[index].type);
  };
  GetInputTypeCount = [](const OrtCustomOp* each) { return self(each).op.inputs.size(); };
  GetOutputType = [](const OrtCustomOp*, std::size_t) { return kFloat; };
  GetOutputTypeCount = [](const OrtCustomOp* each) { return self(each).op.output_required.size(); };
  KernelDestroy = [](void* kernel) { delete static_cast<HeldKernel*>(kernel); };
  GetInputCharacteristic = [](const OrtCustomOp* each, std::size_t index) {
    return self(each).op.inputs[index].required ? kRequired : kOptional;
  };
  GetOutputCharacteristic = [](const OrtCustomOp* each, std::size_t index) {
    return self(each).op.output_required[index] ? kRequired : kOptional;
  };
  GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return kDefaultMemory; };
  GetVariadicInputMinArity = [](const OrtCustomOp*) { return 0; };
  GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 0; };
  GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 0; };
  GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 0; };
  CreateKernelV2 = create_kernel;
  KernelComputeV2 = compute;
  const bool all_inputs =
      std::all_of(op.inputs.begin(), op.inputs.end(), [](const Input& each) { return each.required; });
  InferOutputShapeFn = all_inputs || infers_without_inputs ? infer_shapes : nullptr;
  GetStartVersion = [](const OrtCustomOp*) { return 1; };
  GetEndVersion = [](const OrtCustomOp*) { return 1; };
}

/// The domain `dtc` for one ONNX Runtime; a process may hold several. It lives as long as the library, as sessions do
/// not say when they are done with it.
struct Domain {
  Domain(const OrtApi* given_api, bool infers_without_inputs) : runtime(given_api), api(given_api) {
    for (const Operator& op : operators()) {
      ops.push_back(std::make_unique<CustomOp>(given_api, op, infers_without_inputs));
    }
    api.check(CreateCustomOpDomain{}, "dtc", &domain);
    for (const auto& op : ops) api.check(CustomOpDomainAdd{}, domain, op.get());
  }

  const OrtApi* runtime;
  Api api;
  std::vector<std::unique_ptr<CustomOp>> ops;
  OrtCustomOpDomain* domain = nullptr;
};

/// Whether a node's shapes may be asked for where it leaves an optional input out. ONNX Runtime 1.19 to 1.23 follow a
/// null pointer there; 1.31 does not, and versions in between were not tried.
bool infers_without_inputs(const char* version) {
  int major = 0, minor = 0;
  return std::sscanf(version, "%d.%d", &major, &minor) == 2 && (major > 1 || minor >= 31);
}

OrtCustomOpDomain* domain_for(const OrtApi* api, const char* version) {
  static std::mutex mutex;
  static std::vector<std::unique_ptr<Domain>> domains;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto known =
      std::find_if(domains.begin(), domains.end(), [&](const auto& each) { return each->runtime == api; });
  if (known != domains.end()) return (*known)->domain;
  domains.push_back(std::make_unique<Domain>(api, infers_without_inputs(version)));
  return domains.back()->domain;
}

}  // namespace
}  // namespace dtc

/// What ONNX Runtime calls when the library is registered with the options of a session.
extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(dtc::abi::kApiVersion);
  if (api == nullptr) {
    const OrtApi* first = base->GetApi(1);
    const std::string message =
        std::string("the dtc operators need ONNX Runtime 1.17 or newer, this is ") + base->GetVersionString();
    return dtc::abi::call(first, dtc::abi::CreateStatus{}, dtc::abi::kFail, message.c_str());
  }
  const dtc::Api wrapped(api);
  return dtc::guarded(wrapped, "RegisterCustomOps", [&] {
    wrapped.check(dtc::abi::AddCustomOpDomain{}, options, dtc::domain_for(api, base->GetVersionString()));
  });
}
