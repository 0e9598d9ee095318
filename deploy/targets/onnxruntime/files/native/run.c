// Runs the model of a bundle in ONNX Runtime from C: run_c BUNDLE [SECONDS].
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnxruntime_c.h"
#include "vectors.h"

static const OrtApi* ort;

// A session, with the names of the model's inputs and outputs, and the outputs of the last run.
typedef struct {
  OrtSession* session;
  OrtMemoryInfo* memory;
  size_t inputs, outputs;
  char* input_names[kMaxTensors];
  char* output_names[kMaxTensors];
  OrtValue* last[kMaxTensors];
} Loaded;

static void check(OrtStatus* status) {
  if (status == NULL) return;
  fprintf(stderr, "%s\n", ort->GetErrorMessage(status));
  exit(2);
}

// Registers the libraries of operators that the bundle has.
static void add_libraries(const char* bundle, OrtSessionOptions* options) {
  char path[4096], name[1024];
  void* handle;
  snprintf(path, sizeof path, "%s/lib/libraries.txt", bundle);
  FILE* listed = fopen(path, "r");
  if (listed == NULL) return;
  while (fgets(name, sizeof name, listed) != NULL) {
    name[strcspn(name, "\r\n")] = 0;
    snprintf(path, sizeof path, "%s/lib/%s", bundle, name);
    check(ort->RegisterCustomOpsLibrary(options, path, &handle));
  }
  fclose(listed);
}

// Loads the model, with the libraries of operators that the bundle has.
static void load(const char* bundle, Loaded* loaded) {
  OrtEnv* environment;
  OrtSessionOptions* options;
  OrtAllocator* allocator;
  char path[4096];
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "run", &environment));
  check(ort->CreateSessionOptions(&options));
  check(ort->SetIntraOpNumThreads(options, 1));
  add_libraries(bundle, options);
  find_model(bundle, path, sizeof path);
  check(ort->CreateSession(environment, path, options, &loaded->session));
  check(ort->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &loaded->memory));
  check(ort->GetAllocatorWithDefaultOptions(&allocator));
  check(ort->SessionGetInputCount(loaded->session, &loaded->inputs));
  check(ort->SessionGetOutputCount(loaded->session, &loaded->outputs));
  for (size_t i = 0; i < loaded->inputs && i < kMaxTensors; i++) {
    check(ort->SessionGetInputName(loaded->session, i, allocator, &loaded->input_names[i]));
  }
  for (size_t i = 0; i < loaded->outputs && i < kMaxTensors; i++) {
    check(ort->SessionGetOutputName(loaded->session, i, allocator, &loaded->output_names[i]));
  }
}

static void view(OrtValue* value, Array* array) {
  OrtTensorTypeAndShapeInfo* info;
  ONNXTensorElementDataType type;
  check(ort->GetTensorTypeAndShape(value, &info));
  check(ort->GetTensorElementType(info, &type));
  check(ort->GetDimensionsCount(info, &array->rank));
  if (array->rank > kMaxRank) array->rank = kMaxRank;
  check(ort->GetDimensions(info, array->shape, array->rank));
  check(ort->GetTensorMutableData(value, &array->data));
  ort->ReleaseTensorTypeAndShapeInfo(info);
  array->type = (int)type;
  array->count = 1;
  for (size_t i = 0; i < array->rank; i++) array->count *= (size_t)array->shape[i];
}

static const char* run(void* self, const Array* inputs, Array* outputs) {
  Loaded* loaded = self;
  OrtValue* given[kMaxTensors];
  for (size_t i = 0; i < loaded->inputs; i++) {
    check(ort->CreateTensorWithDataAsOrtValue(loaded->memory, inputs[i].data, inputs[i].bytes, inputs[i].shape,
                                              inputs[i].rank, (ONNXTensorElementDataType)inputs[i].type, &given[i]));
  }
  for (size_t i = 0; i < loaded->outputs; i++) {
    if (loaded->last[i] != NULL) ort->ReleaseValue(loaded->last[i]);
    loaded->last[i] = NULL;
  }
  OrtStatus* status = ort->Run(loaded->session, NULL, (const char* const*)loaded->input_names,
                               (const OrtValue* const*)given, loaded->inputs,
                               (const char* const*)loaded->output_names, loaded->outputs, loaded->last);
  for (size_t i = 0; i < loaded->inputs; i++) ort->ReleaseValue(given[i]);
  if (status != NULL) return ort->GetErrorMessage(status);
  for (size_t i = 0; i < loaded->outputs; i++) view(loaded->last[i], &outputs[i]);
  return NULL;
}

int main(int count, char** arguments) {
  const OrtApiBase* base = OrtGetApiBase();
  ort = base->GetApi(ORT_API_VERSION);
  if (count < 2 || ort == NULL) {
    fprintf(stderr, count < 2 ? "usage: run_c BUNDLE [SECONDS]\n" : "this ONNX Runtime is older than the program\n");
    return 2;
  }
  static Loaded loaded;
  char runtime[64];
  const long long idle = resident("VmRSS:");
  const double start = now();
  load(arguments[1], &loaded);
  const double taken = now() - start;
  const Model model = {&loaded, loaded.inputs, loaded.outputs, run};
  snprintf(runtime, sizeof runtime, "ONNX Runtime %s, C", base->GetVersionString());
  return try_model(&model, arguments[1], count > 2 ? strtod(arguments[2], NULL) : 0, runtime, taken, idle);
}
