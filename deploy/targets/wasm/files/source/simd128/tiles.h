/* The order of codes and coefficients of sums of signs here: tiles of 32 rows, of which one instruction looks up 16.
 *
 * codes[tiles][planes][quads][16], a quad being four columns: byte i holds the signs of row i of a tile in its lower
 * bits, least significant first, and those of row 16 + i in its upper ones. alphas[tiles][groups][planes][32];
 * offsets[tiles][groups][32] or NULL. A group is whole quads; rows and columns beyond the matrix have coefficients 0,
 * and may have any signs. */
#ifndef DTC_TILES_H
#define DTC_TILES_H

#include "kernels/matrix.h"

enum { DTC_TILE = 32, DTC_QUAD = 4, DTC_QUAD_BYTES = 16 };

static inline size_t dtc_quads(const dtc_matrix *w) { return (w->cols + DTC_QUAD - 1) / DTC_QUAD; }

static inline size_t dtc_groups(const dtc_matrix *w) {
    const size_t group = ((const dtc_signs *)w->form)->group;
    return (w->cols + group - 1) / group;
}

#endif
