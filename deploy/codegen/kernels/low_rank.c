#include "matrix.h"

#include <string.h>

static size_t first_of_right(const dtc_matrix *w, size_t row) {
    const dtc_low_rank *form = w->form;
    return row * form->parts / w->rows * form->left->cols;
}

void dtc_low_rank_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch) {
    const dtc_low_rank *form = w->form;
    const size_t rank = form->left->cols;
    memset(scratch, 0, rank * sizeof *scratch);
    form->right->product(form->right, first_of_right(w, first), rank, x, scratch, scratch + rank);
    form->left->product(form->left, first, count, scratch, y, scratch + rank);
}

/* A strip of vectors after the other: what the right factor makes of one is a strip for the left one. */
void dtc_low_rank_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    const dtc_low_rank *form = w->form;
    const size_t rank = form->left->cols, from = first_of_right(w, first);
    float *const strip = scratch, *const rest = scratch + rank * DTC_WIDTH;
    for (size_t start = 0; start < x->count; start += DTC_WIDTH) {
        const size_t some = x->count - start < DTC_WIDTH ? x->count - start : DTC_WIDTH;
        const dtc_vectors given = {some, x->panel + start * w->cols, strip, DTC_WIDTH, 1};
        const dtc_vectors between = {some, strip, x->y + start * x->vector_step, x->row_step, x->vector_step};
        memset(strip, 0, rank * DTC_WIDTH * sizeof *strip);
        form->right->products(form->right, from, rank, &given, rest);
        form->left->products(form->left, first, count, &between, rest);
    }
}
