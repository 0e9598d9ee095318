#include "matrix.h"

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

/* The sum of signed numbers that `bytes` bytes of codes stand for, two look-ups a byte, four bytes a turn: they are
 * joined to one number, which compilers for little-endian processors read at once. */
static inline float look_up(const uint8_t *codes, size_t bytes, const float *table) {
    float low = 0, high = 0;
    const float *const end = table + bytes / 4 * 128;
    for (; table != end; codes += 4, table += 128) {
        const uint32_t word = codes[0] | (uint32_t)codes[1] << 8 | (uint32_t)codes[2] << 16 | (uint32_t)codes[3] << 24;
        low += table[word & 15];
        high += table[16 + (word >> 4 & 15)];
        low += table[32 + (word >> 8 & 15)];
        high += table[48 + (word >> 12 & 15)];
        low += table[64 + (word >> 16 & 15)];
        high += table[80 + (word >> 20 & 15)];
        low += table[96 + (word >> 24 & 15)];
        high += table[112 + (word >> 28)];
    }
    for (bytes %= 4; bytes > 0; --bytes, ++codes, table += 32) {
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

/* A span of columns of rows: where its codes and coefficients begin, and how far those of the next plane and row are. */
typedef struct {
    const uint8_t *codes;
    const float *alphas;
    size_t planes, plane_bytes, row_alphas;
} span_codes;

static void add_looked_up(span_codes at, size_t count, size_t bytes, const float *table, float *y) {
    for (size_t i = 0; i < count; ++i, at.alphas += at.row_alphas) {
        float value = 0;
        for (size_t plane = 0; plane < at.planes; ++plane, at.codes += at.plane_bytes)
            value += at.alphas[plane] * look_up(at.codes, bytes, table);
        y[i] += value;
    }
}

static void add_one_by_one(span_codes at, size_t count, size_t span, const float *x, float *y) {
    for (size_t i = 0; i < count; ++i, at.alphas += at.row_alphas)
        for (size_t plane = 0; plane < at.planes; ++plane, at.codes += at.plane_bytes)
            y[i] += at.alphas[plane] * add_signed(at.codes, span, x);
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
            form->codes + first * form->planes * bytes + start / 8,
            form->alphas + (first * groups + group) * form->planes,
            form->planes,
            bytes,
            groups * form->planes,
        };
        if (count < FEW_ROWS) {
            add_one_by_one(at, count, span, x + start, y);
        } else {
            fill_table(x + start, span, scratch);
            add_looked_up(at, count, (span + 7) / 8, scratch, y);
        }
        if (form->offsets) {
            const float sum = total(x + start, span);
            for (size_t i = 0; i < count; ++i) y[i] += form->offsets[(first + i) * groups + group] * sum;
        }
    }
}
