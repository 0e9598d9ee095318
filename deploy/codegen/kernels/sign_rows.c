#include "half.h"
#include "matrix.h"

void dtc_signs_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_signs *form = w->form;
    const size_t bytes = (w->cols + 7) / 8, groups = (w->cols + form->group - 1) / form->group;
    for (size_t col = 0; col < w->cols; ++col) {
        const size_t place = row * groups + col / form->group;
        const uint8_t *codes = form->codes + row * form->planes * bytes + col / 8;
        float value = form->offsets || form->half_offsets ? dtc_number(form->offsets, form->half_offsets, place) : 0;
        for (size_t plane = 0; plane < form->planes; ++plane, codes += bytes) {
            const float alpha = dtc_number(form->alphas, form->half_alphas, place * form->planes + plane);
            value += (*codes >> col % 8 & 1) ? alpha : -alpha;
        }
        y[col] = value;
    }
}

void dtc_signs_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    dtc_decoded_products(w, dtc_signs_row, first, count, x, scratch);
}
