#include "half.h"
#include "matrix.h"

/* Beyond so many planes a weight is stored otherwise. */
enum { MOST_PLANES = 4 };

/* What the signs of a column stand for, bit i of a code being that of plane i, of a row and a group of columns. */
static void find_levels(const dtc_signs *form, size_t place, float *levels) {
    levels[0] = form->offsets || form->half_offsets ? dtc_number(form->offsets, form->half_offsets, place) : 0;
    for (size_t plane = 0; plane < form->planes; ++plane)
        levels[0] -= dtc_number(form->alphas, form->half_alphas, place * form->planes + plane);
    for (size_t plane = 0; plane < form->planes; ++plane) {
        const float twice = 2 * dtc_number(form->alphas, form->half_alphas, place * form->planes + plane);
        for (size_t code = 0; code < (size_t)1 << plane; ++code) levels[code + ((size_t)1 << plane)] = levels[code] + twice;
    }
}

/* Write the numbers of columns of one group; `planes` is constant where it is called. */
static inline void write_levels(const uint8_t *codes, size_t of_plane, size_t planes, const float *levels, size_t count,
                                float *y) {
    for (; count > 0; ++codes) {
        const size_t some = count < 8 ? count : 8;
        for (size_t i = 0; i < some; ++i) {
            unsigned code = 0;
            for (size_t plane = 0; plane < planes; ++plane) code |= (codes[plane * of_plane] >> i & 1u) << plane;
            *y++ = levels[code];
        }
        count -= some;
    }
}

void dtc_signs_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_signs *form = w->form;
    const size_t bytes = (w->cols + 7) / 8, groups = (w->cols + form->group - 1) / form->group;
    const uint8_t *codes = form->codes + row * form->planes * bytes;
    float levels[1 << MOST_PLANES];
    for (size_t group = 0; group < groups; ++group, codes += form->group / 8, y += form->group) {
        const size_t left = w->cols - group * form->group, count = left < form->group ? left : form->group;
        find_levels(form, row * groups + group, levels);
        if (form->planes == 1)
            write_levels(codes, bytes, 1, levels, count, y);
        else if (form->planes == 2)
            write_levels(codes, bytes, 2, levels, count, y);
        else
            write_levels(codes, bytes, form->planes, levels, count, y);
    }
}

void dtc_signs_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    dtc_decoded_products(w, dtc_signs_row, first, count, x, scratch);
}
