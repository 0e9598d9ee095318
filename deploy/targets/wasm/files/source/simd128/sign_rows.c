#include "simd128/tiles.h"

void dtc_signs_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_signs *form = w->form;
    const size_t tile = row / DTC_TILE, lane = row % DTC_TILE, quads = dtc_quads(w), groups = dtc_groups(w);
    for (size_t col = 0; col < w->cols; ++col) {
        const size_t place = tile * groups + col / form->group, quad = col / DTC_QUAD;
        const size_t bit = col % DTC_QUAD + (lane < 16 ? 0 : 4);
        float value = form->offsets ? form->offsets[place * DTC_TILE + lane] : 0;
        for (size_t plane = 0; plane < form->planes; ++plane) {
            const float alpha = form->alphas[(place * form->planes + plane) * DTC_TILE + lane];
            const uint8_t codes = form->codes[((tile * form->planes + plane) * quads + quad) * DTC_QUAD_BYTES + lane % 16];
            value += (codes >> bit & 1) ? alpha : -alpha;
        }
        y[col] = value;
    }
}
