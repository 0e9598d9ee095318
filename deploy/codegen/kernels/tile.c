/* Four rows times four vectors: sixteen sums, each number loaded once for four of them. */
#include "matrix.h"

#define SUMS(row) float row##0 = 0, row##1 = 0, row##2 = 0, row##3 = 0
#define ADD(row, i) row##0 += a[i] * b0, row##1 += a[i] * b1, row##2 += a[i] * b2, row##3 += a[i] * b3
#define WRITE(row, i) sums[4 * i] = row##0, sums[4 * i + 1] = row##1, sums[4 * i + 2] = row##2, sums[4 * i + 3] = row##3

void dtc_tile(size_t cols, const float *rows, const float *vectors, float *sums) {
    SUMS(p);
    SUMS(q);
    SUMS(r);
    SUMS(s);
    for (const float *a = rows, *b = vectors, *const end = rows + 4 * cols; a != end; a += 4, b += 4) {
        const float b0 = b[0], b1 = b[1], b2 = b[2], b3 = b[3];
        ADD(p, 0);
        ADD(q, 1);
        ADD(r, 2);
        ADD(s, 3);
    }
    WRITE(p, 0);
    WRITE(q, 1);
    WRITE(r, 2);
    WRITE(s, 3);
}
