#define _POSIX_C_SOURCE 199309L
#include "vectors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
  const char* code;
  int type;
  size_t size;
} kTypes[] = {
    {"<f4", 1, 4}, {"|u1", 2, 1}, {"|i1", 3, 1},  {"<u2", 4, 2}, {"<i2", 5, 2},  {"<i4", 6, 4},
    {"<i8", 7, 8}, {"|b1", 9, 1}, {"<f2", 10, 2}, {"<f8", 11, 8}, {"<u4", 12, 4}, {"<u8", 13, 8},
};

double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

long long resident(const char* field) {
  FILE* file = fopen("/proc/self/status", "r");
  char line[256];
  long long found = -1;
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, field, strlen(field)) == 0) found = 1024 * strtoll(line + strlen(field) + 1, NULL, 10);
  }
  if (file != NULL) fclose(file);
  return found;
}

void find_model(const char* bundle, char* path, size_t size) {
  snprintf(path, size, "%s/model.ort", bundle);
  FILE* file = fopen(path, "rb");
  if (file == NULL) {
    snprintf(path, size, "%s/model.onnx", bundle);
  } else {
    fclose(file);
  }
}

// Reads the header of a .npy file: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
static int read_header(FILE* file, Array* array) {
  unsigned char start[10];
  if (fread(start, 1, sizeof start, file) != sizeof start || memcmp(start, "\x93NUMPY\x01", 7) != 0) return 0;
  const size_t length = start[8] + 256u * start[9];
  char* header = calloc(length + 1, 1);
  int known = header != NULL && fread(header, 1, length, file) == length;
  const char* code = known ? strstr(header, "'descr': '") : NULL;
  const char* shape = known ? strstr(header, "'shape': (") : NULL;
  known = code != NULL && shape != NULL && strstr(header, "'fortran_order': False") != NULL;
  array->type = 0, array->rank = 0, array->count = 1;
  for (size_t i = 0; known && i < sizeof kTypes / sizeof *kTypes; i++) {
    if (strncmp(code + 10, kTypes[i].code, 3) == 0) array->type = kTypes[i].type, array->bytes = kTypes[i].size;
  }
  for (const char* at = known ? shape + 10 : ")"; *at != ')' && *at != '\0';) {
    char* end;
    const long long size = strtoll(at, &end, 10);
    if (end == at || array->rank == kMaxRank) return 0;
    array->shape[array->rank++] = size;
    array->count *= (size_t)size;
    for (at = end; *at == ',' || *at == ' '; at++) {
    }
  }
  free(header);
  array->bytes *= array->count;
  return array->type != 0;
}

static int read_array(const char* bundle, int number, const char* kind, size_t index, Array* array) {
  char path[4096];
  snprintf(path, sizeof path, "%s/vectors/%d.%s.%zu.npy", bundle, number, kind, index);
  FILE* file = fopen(path, "rb");
  if (file == NULL) return 0;
  int read = read_header(file, array);
  array->data = read ? malloc(array->bytes + 1) : NULL;
  read = array->data != NULL && fread(array->data, 1, array->bytes, file) == array->bytes;
  fclose(file);
  if (!read) fprintf(stderr, "%s: cannot be read\n", path);
  return read;
}

static double half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double size = exponent == 31  ? (fraction ? NAN : INFINITY)
                      : exponent == 0 ? ldexp(fraction, -24)
                                      : ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -size : size;
}

static double number_at(const Array* array, size_t i) {
  switch (array->type) {
    case 1: return ((const float*)array->data)[i];
    case 2: return ((const uint8_t*)array->data)[i];
    case 3: return ((const int8_t*)array->data)[i];
    case 4: return ((const uint16_t*)array->data)[i];
    case 5: return ((const int16_t*)array->data)[i];
    case 6: return ((const int32_t*)array->data)[i];
    case 7: return (double)((const int64_t*)array->data)[i];
    case 9: return ((const uint8_t*)array->data)[i] != 0;
    case 10: return half(((const uint16_t*)array->data)[i]);
    case 11: return ((const double*)array->data)[i];
    case 12: return ((const uint32_t*)array->data)[i];
    default: return (double)((const uint64_t*)array->data)[i];
  }
}

// Adds squares of what is expected, and of how far it is missed; NaN where both are not of one type and shape.
static void compare(const Array* wanted, const Array* found, double* signal, double* noise) {
  if (wanted->type != found->type || wanted->rank != found->rank ||
      memcmp(wanted->shape, found->shape, wanted->rank * sizeof *wanted->shape) != 0) {
    *noise = NAN;
    return;
  }
  for (size_t i = 0; i < wanted->count; i++) {
    const double expected = number_at(wanted, i), error = number_at(found, i) - expected;
    if (!isfinite(expected)) continue;
    *signal += expected * expected;
    *noise += error * error;
  }
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

// The median of the seconds of a run; below 0 where it was not measured.
static double latency(const Model* model, const Array* inputs, Array* outputs, double seconds) {
  enum { kMost = 100000 };
  if (seconds <= 0) return -1;
  double* taken = malloc(kMost * sizeof *taken);
  size_t count = 0;
  for (const double end = now() + seconds; taken != NULL && count < kMost && (count < 3 || now() < end);) {
    const double start = now();
    if (model->run(model->self, inputs, outputs) != NULL) break;
    taken[count++] = now() - start;
  }
  if (count > 0) qsort(taken, count, sizeof *taken, ascending);
  const double median = count > 0 ? taken[count / 2] : -1;
  free(taken);
  return median;
}

static void print_number(const char* name, double value, int known) {
  if (known) {
    printf(", \"%s\": %.9g", name, value);
  } else {
    printf(", \"%s\": null", name);
  }
}

// Runs one case; returns 1 where there is one, 0 where there is none, -1 where the model fails.
static int run_case(const Model* model, const char* bundle, int number, Array* inputs, Array* outputs, double* signal,
                    double* noise) {
  for (size_t i = 0; i < model->inputs; i++) {
    if (!read_array(bundle, number, "input", i, &inputs[i])) return 0;
  }
  const char* problem = model->run(model->self, inputs, outputs);
  if (problem != NULL) {
    fprintf(stderr, "case %d: %s\n", number, problem);
    return -1;
  }
  for (size_t i = 0; i < model->outputs; i++) {
    Array wanted;
    if (!read_array(bundle, number, "output", i, &wanted)) return 0;
    compare(&wanted, &outputs[i], &signal[i], &noise[i]);
    free(wanted.data);
  }
  return 1;
}

static double tolerance_of(const char* bundle) {
  char path[4096];
  snprintf(path, sizeof path, "%s/vectors/tolerance.txt", bundle);
  FILE* file = fopen(path, "r");
  double tolerance = 0;
  if (file == NULL || fscanf(file, "%lf", &tolerance) != 1) fprintf(stderr, "%s: cannot be read\n", path);
  if (file != NULL) fclose(file);
  return tolerance;
}

int try_model(const Model* model, const char* bundle, double seconds, const char* runtime, double load,
              long long idle) {
  static Array inputs[kMaxTensors], first[kMaxTensors], outputs[kMaxTensors];
  double signal[kMaxTensors] = {0}, noise[kMaxTensors] = {0}, far = 0;
  if (model->inputs > kMaxTensors || model->outputs > kMaxTensors) {
    fprintf(stderr, "the model has more than %d inputs or outputs\n", kMaxTensors);
    return 2;
  }
  int cases = 0, ran = 1;
  for (; ran == 1; cases += ran == 1) {
    Array* given = cases == 0 ? first : inputs;
    // A model without inputs has one case, as nothing tells another.
    if (model->inputs == 0 && cases == 1) break;
    ran = run_case(model, bundle, cases, given, outputs, signal, noise);
    for (size_t i = 0; cases > 0 && i < model->inputs; i++) free(inputs[i].data), inputs[i].data = NULL;
  }
  if (ran < 0 || cases == 0) {
    fprintf(stderr, "%s: no test vector could be run\n", bundle);
    return 2;
  }
  for (size_t i = 0; i < model->outputs; i++) {
    const double squared = signal[i] > 0 ? noise[i] / signal[i] : noise[i] > 0 ? NAN : noise[i];
    if (!(squared <= far * far)) far = sqrt(squared);
    if (isnan(far)) break;
  }
  const long long peak = resident("VmHWM:");
  const double median = latency(model, first, outputs, seconds);
  printf("{\"runtime\": \"%s\"", runtime);
  print_number("relative_l2", far, isfinite(far));
  print_number("load", load, 1);
  print_number("latency", median, median >= 0);
  print_number("memory", (double)(peak - idle), peak >= 0 && idle >= 0);
  printf("}\n");
  return far <= tolerance_of(bundle) ? 0 : 1;
}
