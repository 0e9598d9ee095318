// Test vectors: reading them, and holding a model to them. Plain C11, for programs in C and C++.
#ifndef VECTORS_H_
#define VECTORS_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { kMaxRank = 8, kMaxTensors = 64 };

// An array: of elements of a type as ONNX numbers them (1: float), in C order.
typedef struct {
  int type;
  size_t rank;
  int64_t shape[kMaxRank];
  size_t count;
  size_t bytes;
  void* data;
} Array;

// A model that can run: whatever `self` is, `run` makes the outputs of the inputs; their data stays its own until the
// next run. It returns null, or what went wrong.
typedef struct {
  void* self;
  size_t inputs, outputs;
  const char* (*run)(void* self, const Array* inputs, Array* outputs);
} Model;

// Seconds of a clock that never goes back.
double now(void);

// Bytes of the process, by the name of a line in its status: VmRSS, VmHWM; -1 outside of Linux.
long long resident(const char* field);

// Writes the path of a bundle's model: model.ort where that is there, else model.onnx.
void find_model(const char* bundle, char* path, size_t size);

// Compares the model with the vectors of a bundle, times it for `seconds`, and prints what was found as JSON. Returns
// the exit status of the program.
int try_model(const Model* model, const char* bundle, double seconds, const char* runtime, double load, long long idle);

#ifdef __cplusplus
}
#endif

#endif  // VECTORS_H_
