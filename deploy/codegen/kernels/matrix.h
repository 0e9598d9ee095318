/* Weights as matrices, each in a compressed form that it is computed on in. No heap, no operating system. */
#ifndef DTC_MATRIX_H
#define DTC_MATRIX_H

#include <stddef.h>
#include <stdint.h>

typedef struct dtc_matrix dtc_matrix;

/* A weight of rows * cols numbers. Members that a model does not need are NULL, and their code is not linked. */
struct dtc_matrix {
    /* y[i] += row (first + i) times x, for i below count; scratch as the form needs. */
    void (*product)(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
    /* y[count][rows] += all rows times each x[count][cols], where that is faster than one by one; else NULL. */
    void (*products)(const dtc_matrix *w, size_t count, const float *x, float *y, float *scratch);
    /* y = row. */
    void (*row)(const dtc_matrix *w, size_t row, float *y);
    size_t rows, cols;
    const void *form;
};

/* As they are: values[rows][cols]. */
void dtc_dense_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
void dtc_dense_row(const dtc_matrix *w, size_t row, float *y);

/* Few values that are not zero. A row's values are values[starts[row]] ... values[starts[row + 1] - 1]; gaps holds how
 * many columns each is behind the one before, the first of a row behind column 0. Wider gaps have zeros in between.
 * Where palette is not NULL, the values are palette[indices[...]] instead. */
typedef struct {
    const uint32_t *starts;
    const uint8_t *gaps;
    const float *values;
    const uint8_t *indices;
    const float *palette;
} dtc_sparse;

void dtc_sparse_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
void dtc_sparse_row(const dtc_matrix *w, size_t row, float *y);

/* Sums of signs: of each group of columns, the weight is offset + sum of +-alpha over the planes.
 * codes[rows][planes][(cols + 7) / 8], least significant bit first, 1 is +; alphas[rows][groups][planes];
 * offsets[rows][groups], or none. group is a multiple of 8. Where 16 bits hold all of them, the halves are not NULL. */
typedef struct {
    size_t planes, group;
    const uint8_t *codes;
    const float *alphas, *offsets;
    const uint16_t *half_alphas, *half_offsets;
} dtc_signs;

/* Columns that dtc_signs_product takes at a time: of as many, or all, rounded up to a multiple of 8, it takes 4 floats of
 * scratch for each, the sums of all signs of 4 numbers. */
enum { DTC_SIGNS_SPAN = 256 };

void dtc_signs_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
void dtc_signs_row(const dtc_matrix *w, size_t row, float *y);

/* Blocks of a row as indices of codewords: indices[rows][bytes], of `bits` bits each (1, 2, 4, 8 or 16), least
 * significant first, a row beginning at a byte. codewords[tables][count][block]; table `row * tables / rows`, that is
 * one for all rows, or one a row. The last block may go beyond a row. Of one table the product takes scratch for the sums
 * of all codes, of four bits or of one index, for as many as DTC_CODEBOOK_SUMS floats hold, where rows are enough. */
typedef struct {
    size_t bits, block, tables, count;
    const uint8_t *indices;
    const float *codewords;
} dtc_codebook;

enum { DTC_CODEBOOK_SUMS = 1024 };

void dtc_codebook_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
void dtc_codebook_row(const dtc_matrix *w, size_t row, float *y);

/* left [rows, rank] times right [rank, cols]; the product takes rank floats of scratch and what its parts take. */
typedef struct {
    const dtc_matrix *left, *right;
} dtc_low_rank;

void dtc_low_rank_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);

#endif
