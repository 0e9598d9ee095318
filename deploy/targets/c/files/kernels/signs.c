#include "matrix.h"

/* table[16 * j + code] is the sum of x[4 * j + i], negative where bit i of code is 0: each sum is one addition away from
 * another one. Numbers behind the end count as 0. */
static void fill_table(const float *x, size_t count, float *table) {
    for (size_t j = 0; 4 * j < count; ++j, table += 16) {
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

/* The sum of signed numbers that `bytes` bytes of codes stand for, two look-ups a byte, four bytes a turn. */
static float look_up(const uint8_t *codes, size_t bytes, const float *table) {
    float low = 0, high = 0;
    for (; bytes >= 4; bytes -= 4, codes += 4, table += 128) {
        const unsigned a = codes[0], b = codes[1], c = codes[2], d = codes[3];
        low += table[a & 15];
        high += table[16 + (a >> 4)];
        low += table[32 + (b & 15)];
        high += table[48 + (b >> 4)];
        low += table[64 + (c & 15)];
        high += table[80 + (c >> 4)];
        low += table[96 + (d & 15)];
        high += table[112 + (d >> 4)];
    }
    for (; bytes > 0; --bytes, ++codes, table += 32) {
        low += table[*codes & 15];
        high += table[16 + (*codes >> 4)];
    }
    return low + high;
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

enum { FEW_ROWS = 4 };

void dtc_signs_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_signs *form = w->form;
    const size_t bytes = (w->cols + 7) / 8, groups = (w->cols + form->group - 1) / form->group;
    size_t span;
    for (size_t start = 0; start < w->cols; start += span) {
        const size_t group = start / form->group, left = (group + 1) * form->group - start;
        span = w->cols - start < left ? w->cols - start : left;
        if (span > DTC_SIGNS_SPAN) span = DTC_SIGNS_SPAN;
        /* Behind the last whole byte the table holds sums of zeros. */
        const size_t whole = (span + 7) / 8;
        if (count >= FEW_ROWS) {
            fill_table(x + start, span, scratch);
            if (whole * 8 > (span + 3) / 4 * 4)
                for (size_t code = 0; code < 16; ++code) scratch[(2 * whole - 1) * 16 + code] = 0;
        }
        const float sum = form->offsets ? total(x + start, span) : 0;
        for (size_t i = 0; i < count; ++i) {
            const size_t row = first + i;
            const uint8_t *codes = form->codes + row * form->planes * bytes + start / 8;
            const float *alphas = form->alphas + (row * groups + group) * form->planes;
            float value = form->offsets ? form->offsets[row * groups + group] * sum : 0;
            for (size_t plane = 0; plane < form->planes; ++plane, codes += bytes)
                value += alphas[plane] * (count >= FEW_ROWS ? look_up(codes, whole, scratch)
                                                            : add_signed(codes, span, x + start));
            y[i] += value;
        }
    }
}

void dtc_signs_row(const dtc_matrix *w, size_t row, float *y) {
    const dtc_signs *form = w->form;
    const size_t bytes = (w->cols + 7) / 8, groups = (w->cols + form->group - 1) / form->group;
    for (size_t col = 0; col < w->cols; ++col) {
        const size_t place = row * groups + col / form->group;
        const uint8_t *codes = form->codes + row * form->planes * bytes + col / 8;
        float value = form->offsets ? form->offsets[place] : 0;
        for (size_t plane = 0; plane < form->planes; ++plane, codes += bytes) {
            const float alpha = form->alphas[place * form->planes + plane];
            value += (*codes >> col % 8 & 1) ? alpha : -alpha;
        }
        y[col] = value;
    }
}
