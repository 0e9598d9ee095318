#include "matrix.h"

#include <string.h>

void dtc_low_rank_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_low_rank *form = w->form;
    const size_t rank = form->right->rows;
    memset(scratch, 0, rank * sizeof *scratch);
    form->right->product(form->right, 0, rank, x, scratch, scratch + rank);
    form->left->product(form->left, first, count, scratch, y, scratch + rank);
}
