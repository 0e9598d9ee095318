/* The order of codes here: tiles of 32 rows, of which one instruction looks up 16. A code is four bits, for one column or
 * several; the 16 bytes of a tile's codes hold those of rows 0 8 1 9 ... 7 15 in their lower bits, and those of rows 16 24
 * 17 25 ... 23 31 in their upper ones, so that bytes of even places are of rows in order. Rows and columns beyond the matrix have any codes, and count for nothing. */
#ifndef DTC_TILES_H
#define DTC_TILES_H

#include "kernels/matrix.h"

enum { DTC_TILE = 32, DTC_CODE_BYTES = 16 };

/* Sums of signs, in another order than that of kernels/matrix.h: a code holds the signs of four columns, the first in the
 * least significant bit. codes[tiles][planes][codes of a row][16], alphas[tiles][groups][planes][32],
 * offsets[tiles][groups][32], or none. */
enum { DTC_QUAD = 4 };

/* Products by rows that are decoded, which of many vectors are less work than look-ups; scratch as DTC_ROWS of them take,
 * twice. */
void dtc_signs_decoded_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch);

/* At most 16 numbers: a code holds the places of 4 / bits columns in `values`, the first in the least significant bits.
 * codes[tiles][codes of a row][16]; values[16], of which the first 1 << bits count. `bytes` is 3 where the largest number is
 * far from most, which two bytes would round too much; else 2. */
typedef struct {
    size_t bits, bytes;
    const uint8_t *codes;
    const float *values;
} dtc_levels;

void dtc_levels_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch);
void dtc_levels_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
void dtc_levels_row(const dtc_matrix *w, size_t row, float *y);

/* The codes of a row, of so many columns each. */
static inline size_t dtc_codes(const dtc_matrix *w, size_t columns) { return (w->cols + columns - 1) / columns; }

/* A row's code of a tile. */
static inline unsigned dtc_code(const uint8_t *codes, size_t lane) {
    return codes[2 * (lane % 8) + lane / 8 % 2] >> (lane < 16 ? 0 : 4) & 15;
}

#endif
