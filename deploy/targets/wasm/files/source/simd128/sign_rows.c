#include "kernels/half.h"
#include "simd128/tiles.h"

void dtc_signs_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_signs *form = w->form;
    const size_t tile = row / DTC_TILE, lane = row % DTC_TILE, quads = dtc_codes(w, DTC_QUAD);
    const size_t groups = (w->cols + form->group - 1) / form->group;
    for (size_t col = 0; col < w->cols; ++col) {
        const size_t place = tile * groups + col / form->group;
        const uint8_t *codes = form->codes + (tile * form->planes * quads + col / DTC_QUAD) * DTC_CODE_BYTES;
        const size_t row_place = place * DTC_TILE + lane;
        float value = form->offsets || form->half_offsets ? dtc_number(form->offsets, form->half_offsets, row_place) : 0;
        for (size_t plane = 0; plane < form->planes; ++plane, codes += quads * DTC_CODE_BYTES) {
            const size_t alpha_place = (place * form->planes + plane) * DTC_TILE + lane;
            const float alpha = dtc_number(form->alphas, form->half_alphas, alpha_place);
            value += (dtc_code(codes, lane) >> col % DTC_QUAD & 1) ? alpha : -alpha;
        }
        y[col] = value;
    }
}
