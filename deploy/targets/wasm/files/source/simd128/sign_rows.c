#include "simd128/tiles.h"

void dtc_signs_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_signs *form = w->form;
    const size_t tile = row / DTC_TILE, lane = row % DTC_TILE, quads = dtc_codes(w, DTC_QUAD);
    const size_t groups = (w->cols + form->group - 1) / form->group;
    for (size_t col = 0; col < w->cols; ++col) {
        const size_t place = tile * groups + col / form->group;
        const uint8_t *codes = form->codes + (tile * form->planes * quads + col / DTC_QUAD) * DTC_CODE_BYTES;
        float value = form->offsets ? form->offsets[place * DTC_TILE + lane] : 0;
        for (size_t plane = 0; plane < form->planes; ++plane, codes += quads * DTC_CODE_BYTES) {
            const float alpha = form->alphas[(place * form->planes + plane) * DTC_TILE + lane];
            value += (dtc_code(codes, lane) >> col % DTC_QUAD & 1) ? alpha : -alpha;
        }
        y[col] = value;
    }
}
