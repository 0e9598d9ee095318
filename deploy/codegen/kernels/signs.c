#include "half.h"
#include "matrix.h"
#include "nibbles.h"

/* table[16 * j + code] is the sum of x[4 * j + i], negative where bit i of code is 0: each sum is one addition away from
 * another one. Numbers behind the end, up to a whole byte of codes, count as 0. */
static void fill_table(const float *x, size_t count, float *table) {
    for (size_t j = 0; j < (count + 7) / 8 * 2; ++j, table += 16) {
        float twice[4];
        table[0] = 0;
        for (size_t i = 0; i < 4; ++i) {
            const float value = 4 * j + i < count ? x[4 * j + i] : 0;
            table[0] -= value;
            twice[i] = 2 * value;
        }
        for (size_t i = 0; i < 4; ++i)
            for (size_t code = 0; code < (size_t)1 << i; ++code) table[code + ((size_t)1 << i)] = table[code] + twice[i];
    }
}

/* For few rows a table would cost more than it saves: signs one by one. */
static float add_signed(const uint8_t *codes, size_t count, const float *x) {
    float sum = 0;
    for (size_t i = 0; i < count; ++i) sum += (codes[i / 8] >> i % 8 & 1) ? x[i] : -x[i];
    return sum;
}

static float total(const float *x, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; ++i) sum += x[i];
    return sum;
}

/* A span of columns of rows: where its codes and coefficients begin, and how far those of the next plane and row are. */
typedef struct {
    const dtc_signs *form;
    const uint8_t *codes;
    size_t alphas, plane_bytes, row_alphas;
} span_codes;

static inline float alpha_at(const dtc_signs *form, size_t place) {
    return dtc_number(form->alphas, form->half_alphas, place);
}

static void add_looked_up(span_codes at, size_t count, size_t bytes, const float *table, float *y) {
    for (size_t i = 0; i < count; ++i, at.alphas += at.row_alphas) {
        float value = 0;
        for (size_t plane = 0; plane < at.form->planes; ++plane, at.codes += at.plane_bytes)
            value += alpha_at(at.form, at.alphas + plane) * dtc_look_up_nibbles(at.codes, bytes, table);
        y[i] += value;
    }
}

static void add_one_by_one(span_codes at, size_t count, size_t span, const float *x, float *y) {
    for (size_t i = 0; i < count; ++i, at.alphas += at.row_alphas)
        for (size_t plane = 0; plane < at.form->planes; ++plane, at.codes += at.plane_bytes)
            y[i] += alpha_at(at.form, at.alphas + plane) * add_signed(at.codes, span, x);
}

enum { FEW_ROWS = 4 };

void dtc_signs_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_signs *form = w->form;
    const size_t bytes = (w->cols + 7) / 8, groups = (w->cols + form->group - 1) / form->group;
    size_t span;
    for (size_t start = 0; start < w->cols; start += span) {
        const size_t group = start / form->group, left = (group + 1) * form->group - start;
        span = w->cols - start < left ? w->cols - start : left;
        if (span > DTC_SIGNS_SPAN) span = DTC_SIGNS_SPAN;
        const span_codes at = {
            form,
            form->codes + first * form->planes * bytes + start / 8,
            (first * groups + group) * form->planes,
            bytes,
            groups * form->planes,
        };
        if (count < FEW_ROWS) {
            add_one_by_one(at, count, span, x + start, y);
        } else {
            fill_table(x + start, span, scratch);
            add_looked_up(at, count, (span + 7) / 8, scratch, y);
        }
        if (!form->offsets && !form->half_offsets) continue;
        const float sum = total(x + start, span);
        for (size_t i = 0; i < count; ++i)
            y[i] += dtc_number(form->offsets, form->half_offsets, (first + i) * groups + group) * sum;
    }
}
