// The part of ONNX Runtime's C API that the library uses, declared here: it builds with a compiler alone.
//
// The API is a struct of function pointers to which newer versions append; a slot's number and signature never change.
// Names, order and argument lists follow the published documentation of the C API, version 17.
#ifndef DTC_ORT_ABI_H_
#define DTC_ORT_ABI_H_

#include <cstddef>
#include <cstdint>

extern "C" {

struct OrtStatus;
struct OrtValue;
struct OrtTensorTypeAndShapeInfo;
struct OrtSessionOptions;
struct OrtCustomOpDomain;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtShapeInferContext;
struct OrtOpAttr;
struct OrtApi;

struct OrtApiBase {
  const OrtApi* (*GetApi)(std::uint32_t version);
  const char* (*GetVersionString)();
};

/// An operator, in the layout of version 17.
struct OrtCustomOp {
  std::uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  int (*GetInputType)(const OrtCustomOp*, std::size_t);
  std::size_t (*GetInputTypeCount)(const OrtCustomOp*);
  int (*GetOutputType)(const OrtCustomOp*, std::size_t);
  std::size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void*, OrtKernelContext*);
  void (*KernelDestroy)(void*);
  int (*GetInputCharacteristic)(const OrtCustomOp*, std::size_t);
  int (*GetOutputCharacteristic)(const OrtCustomOp*, std::size_t);
  int (*GetInputMemoryType)(const OrtCustomOp*, std::size_t);
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus* (*CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void**);
  OrtStatus* (*KernelComputeV2)(void*, OrtKernelContext*);
  OrtStatus* (*InferOutputShapeFn)(const OrtCustomOp*, OrtShapeInferContext*);
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
};

}  // extern "C"

namespace dtc::abi {

constexpr std::uint32_t kApiVersion = 17;  ///< ONNX Runtime 1.17, the first with KernelContext_ParallelFor

constexpr int kInvalidArgument = 2, kFail = 1;  ///< OrtErrorCode
constexpr int kRequired = 0, kOptional = 1;     ///< OrtCustomOpInputOutputCharacteristic
constexpr int kFloat = 1;                       ///< ONNXTensorElementDataType; 0 is any type
constexpr int kAttributeInt = 1;                ///< OrtOpAttrType
constexpr int kAttributeString = 5;             ///< OrtOpAttrType
constexpr int kDefaultMemory = 0;               ///< OrtMemType

using Task = void (*)(void*, std::size_t);

/// A function of the API: its place in OrtApi, and its type.
template <std::size_t slot, typename Signature>
struct Function {};

using CreateStatus = Function<0, OrtStatus*(int code, const char* message)>;
using CreateCustomOpDomain = Function<26, OrtStatus*(const char* name, OrtCustomOpDomain** out)>;
using CustomOpDomainAdd = Function<27, OrtStatus*(OrtCustomOpDomain*, const OrtCustomOp*)>;
using AddCustomOpDomain = Function<28, OrtStatus*(OrtSessionOptions*, OrtCustomOpDomain*)>;
using GetErrorMessage = Function<2, const char*(const OrtStatus*)>;
using GetTensorMutableData = Function<51, OrtStatus*(OrtValue*, void** out)>;
using CreateTensorTypeAndShapeInfo = Function<57, OrtStatus*(OrtTensorTypeAndShapeInfo** out)>;
using SetTensorElementType = Function<58, OrtStatus*(OrtTensorTypeAndShapeInfo*, int type)>;
using SetDimensions = Function<59, OrtStatus*(OrtTensorTypeAndShapeInfo*, const std::int64_t*, std::size_t)>;
using GetTensorElementType = Function<60, OrtStatus*(const OrtTensorTypeAndShapeInfo*, int* out)>;
using GetDimensionsCount = Function<61, OrtStatus*(const OrtTensorTypeAndShapeInfo*, std::size_t* out)>;
using GetDimensions = Function<62, OrtStatus*(const OrtTensorTypeAndShapeInfo*, std::int64_t* out, std::size_t)>;
using GetSymbolicDimensions =
    Function<63, OrtStatus*(const OrtTensorTypeAndShapeInfo*, const char** names, std::size_t)>;
using GetTensorTypeAndShape = Function<65, OrtStatus*(const OrtValue*, OrtTensorTypeAndShapeInfo** out)>;
using KernelInfoGetAttributeFloat = Function<85, OrtStatus*(const OrtKernelInfo*, const char*, float* out)>;
using KernelInfoGetAttributeInt = Function<86, OrtStatus*(const OrtKernelInfo*, const char*, std::int64_t* out)>;
using KernelInfoGetAttributeString =
    Function<87, OrtStatus*(const OrtKernelInfo*, const char*, char* out, std::size_t* size)>;
using KernelContextGetInputCount = Function<88, OrtStatus*(const OrtKernelContext*, std::size_t* out)>;
using KernelContextGetOutputCount = Function<89, OrtStatus*(const OrtKernelContext*, std::size_t* out)>;
using KernelContextGetInput = Function<90, OrtStatus*(const OrtKernelContext*, std::size_t, const OrtValue** out)>;
using KernelContextGetOutput =
    Function<91, OrtStatus*(OrtKernelContext*, std::size_t, const std::int64_t* dims, std::size_t, OrtValue** out)>;
using ReleaseStatus = Function<93, void(OrtStatus*)>;
using ReleaseTensorTypeAndShapeInfo = Function<99, void(OrtTensorTypeAndShapeInfo*)>;
using KernelInfoGetInputCount = Function<230, OrtStatus*(const OrtKernelInfo*, std::size_t* out)>;
using KernelInfoGetConstantInput =
    Function<249, OrtStatus*(const OrtKernelInfo*, std::size_t, int* is_constant, const OrtValue** out)>;
using ShapeInferGetInputCount = Function<267, OrtStatus*(const OrtShapeInferContext*, std::size_t* out)>;
using ShapeInferGetInputTypeShape =
    Function<268, OrtStatus*(const OrtShapeInferContext*, std::size_t, OrtTensorTypeAndShapeInfo** out)>;
using ShapeInferGetAttribute =
    Function<269, OrtStatus*(const OrtShapeInferContext*, const char*, const OrtOpAttr** out)>;
using ShapeInferSetOutputTypeShape =
    Function<270, OrtStatus*(const OrtShapeInferContext*, std::size_t, const OrtTensorTypeAndShapeInfo*)>;
using SetSymbolicDimensions = Function<271, OrtStatus*(OrtTensorTypeAndShapeInfo*, const char** names, std::size_t)>;
using ReadOpAttr = Function<272, OrtStatus*(const OrtOpAttr*, int type, void* data, std::size_t, std::size_t* out)>;
using KernelContextParallelFor =
    Function<274, OrtStatus*(const OrtKernelContext*, Task, std::size_t total, std::size_t batches, void* data)>;

/// Calls a function of the API.
template <std::size_t slot, typename Result, typename... Parameters, typename... Arguments>
Result call(const OrtApi* api, Function<slot, Result(Parameters...)>, Arguments... arguments) {
  using Any = void (*)();
  const Any function = reinterpret_cast<const Any*>(api)[slot];
  return reinterpret_cast<Result (*)(Parameters...)>(function)(arguments...);
}

}  // namespace dtc::abi

#endif  // DTC_ORT_ABI_H_
