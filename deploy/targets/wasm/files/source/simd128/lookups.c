#include "simd128/lookups.h"

#include <math.h>

static float magnitude(const float *x, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; ++i) sum += fabsf(x[i]);
    return sum;
}

float dtc_factor(const float *x, size_t count, size_t columns, float *back) {
    const size_t run = DTC_RUN * columns;
    float most = 0;
    for (size_t i = 0; i < count; i += run) {
        const float sum = magnitude(x + i, count - i < run ? count - i : run);
        if (!(sum <= most)) most = sum;
    }
    *back = most / DTC_LARGEST;
    return most == 0 ? 0 : DTC_LARGEST / most;
}

void dtc_add_tiles(const dtc_matrix *w, size_t first, size_t count, dtc_tile_adder *add, const dtc_prepared *x, float *y) {
    const size_t end = first + count;
    for (size_t row = first; row < end;) {
        const size_t tile = row / DTC_TILE, lane = row % DTC_TILE, left = DTC_TILE - lane;
        const size_t rows = end - row < left ? end - row : left;
        if (rows == DTC_TILE) {
            add(w, tile, x, y);
        } else {
            float part[DTC_TILE] = {0};
            add(w, tile, x, part);
            for (size_t i = 0; i < rows; ++i) y[i] += part[lane + i];
        }
        row += rows;
        y += rows;
    }
}
