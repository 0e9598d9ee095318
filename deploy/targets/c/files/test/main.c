/* Compares the model with the test vectors, measures it, and writes what it found as one line of JSON. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"

typedef struct {
    const char *name, *type;
    void *numbers;
    size_t count, bytes;
} tensor;

#include "tensors.h"

#ifndef CASES
#define CASES 1000 /* All that there are. */
#endif

static void fail(const char *path, const char *why) {
    fprintf(stderr, "%s: %s\n", path, why);
    exit(2);
}

/* Open vectors/CASE.KIND.INDEX.npy where its numbers begin; NULL if there is no such case. */
static FILE *open_vector(int number, const char *kind, size_t index) {
    char path[64];
    unsigned char head[10];
    snprintf(path, sizeof path, "vectors/%d.%s.%d.npy", number, kind, (int)index);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    if (fread(head, 1, sizeof head, file) != sizeof head || head[6] != 1) fail(path, "is no NumPy file of version 1");
    if (fseek(file, 10 + head[8] + 256 * head[9], SEEK_SET)) fail(path, "is cut off");
    return file;
}

static double number_at(const char *type, const void *numbers, size_t i) {
    if (!strcmp(type, "float")) return ((const float *)numbers)[i];
    if (!strcmp(type, "int64_t")) return (double)((const int64_t *)numbers)[i];
    if (!strcmp(type, "int32_t")) return ((const int32_t *)numbers)[i];
    return ((const bool *)numbers)[i];
}

/* False where there is no such case; of a model without inputs only its outputs tell. */
static bool read_inputs(int number) {
    FILE *wanted = open_vector(number, "output", 0);
    if (!wanted) return false;
    fclose(wanted);
    for (size_t i = 0; inputs[i].name; ++i) {
        FILE *file = open_vector(number, "input", i);
        if (!file) fail("vectors", "an input is missing");
        if (fread(inputs[i].numbers, inputs[i].bytes, inputs[i].count, file) != inputs[i].count)
            fail("vectors", "an input is cut off");
        fclose(file);
    }
    return true;
}

/* Relative L2 of an output from that of a test vector. */
static double distance(int number, size_t index) {
    const tensor *output = outputs + index;
    FILE *file = open_vector(number, "output", index);
    if (!file) fail("vectors", "an output is missing");
    double far = 0, whole = 0;
    for (size_t i = 0; i < output->count; ++i) {
        union {
            float f;
            int64_t i;
            int32_t j;
            bool b;
        } wanted;
        if (fread(&wanted, output->bytes, 1, file) != 1) fail("vectors", "an output is cut off");
        const double right = number_at(output->type, &wanted, 0), found = number_at(output->type, output->numbers, i);
        if (!isfinite(right) && (isnan(right) ? isnan(found) : right == found)) continue;
        far += (found - right) * (found - right);
        whole += right * right;
    }
    fclose(file);
    return far == 0 ? 0 : sqrt(far / whole);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#ifdef ON_DEVICE
#define COUNTER ((volatile uint32_t *)0xE000E010)
enum { NANOSECONDS = 64, TICKS_PER_SECOND = 25000000 };
static volatile uint32_t wraps;

void count_wraps(void) { ++wraps; }

/* Instructions of a run: the emulator takes 64 ns for each, and the counter ticks 25 times a microsecond. */
static double instructions(void) {
    COUNTER[1] = 0xFFFFFF;
    COUNTER[2] = 0;
    COUNTER[0] = 7;
    run();
    const double ticks = 0x1000000 * (double)wraps + (0xFFFFFF - COUNTER[2]);
    COUNTER[0] = 0;
    return ticks * (1e9 / TICKS_PER_SECOND) / NANOSECONDS;
}

/* Of the first case: a run in an emulator takes long. */
static double counted;

static void run_case(int number) {
    if (number) run();
    else counted = instructions();
}
#else
static void run_case(int number) {
    (void)number;
    run();
}
#endif

static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

/* The median of runs for some seconds. */
static double latency(double limit) {
    enum { MOST = 10000 };
    static double found[MOST];
    size_t count = 0;
    for (double begin = seconds(); count < MOST && seconds() - begin < limit; ++count) {
        const double start = seconds();
        size_t times = 0;
        do {
            run();
            ++times;
        } while (seconds() - start < 1e-3);
        found[count] = (seconds() - start) / (double)times;
    }
    qsort(found, count, sizeof *found, compare);
    return found[count / 2];
}

int main(int argc, char **argv) {
    double tolerance = 1e-3, worst = 0;
    FILE *file = fopen("vectors/tolerance.txt", "r");
    char line[32] = "";
    if (file && fgets(line, sizeof line, file)) tolerance = strtod(line, NULL);
    if (file) fclose(file);
    int number = 0;
    for (; number < CASES && read_inputs(number); ++number) {
        run_case(number);
        for (size_t i = 0; outputs[i].name; ++i) {
            const double far = distance(number, i);
            if (isfinite(worst) && !(far <= worst)) worst = far;
            if (!(far <= tolerance)) fprintf(stderr, "case %d: %s is %g off\n", number, outputs[i].name, far);
        }
    }
    if (!number) fail("vectors", "there are none");
    printf("{\"runtime\": \"");
#ifdef ON_DEVICE
    (void)argc, (void)argv, (void)latency;
    printf("gcc " __VERSION__ ", %.0f instructions", counted);
    printf("\", \"load\": null, \"latency\": null");
#else
    printf("C " __VERSION__ "\", \"load\": 0");
    const double limit = argc > 1 ? strtod(argv[1], NULL) : 0;
    if (limit > 0)
        printf(", \"latency\": %.9g", latency(limit));
    else
        printf(", \"latency\": null");
#endif
    if (isfinite(worst))
        printf(", \"relative_l2\": %.9g", worst);
    else
        printf(", \"relative_l2\": \"nan\"");
    printf(", \"memory\": %d}\n", MODEL_ARENA_BYTES);
    return worst <= tolerance ? 0 : 1;
}
