/* Weights as matrices, each in a compressed form that it is computed on in. No heap, no operating system. */
#ifndef DTC_MATRIX_H
#define DTC_MATRIX_H

#include <stddef.h>
#include <stdint.h>

typedef struct dtc_matrix dtc_matrix;
typedef struct dtc_vectors dtc_vectors;

/* A weight of rows * cols numbers. Members that a model does not need are NULL, and their code is not linked. */
struct dtc_matrix {
    /* y[i] += row (first + i) times x, for i below count; scratch as the form needs. */
    void (*product)(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
    /* The same for several vectors at once. */
    void (*products)(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch);
    /* y = row. */
    void (*row)(const dtc_matrix *w, size_t row, float *y);
    size_t rows, cols;
    const void *form;
};

/* Several vectors that rows of a weight are multiplied with, and where the products go. */
struct dtc_vectors {
    size_t count;
    /* Strips of DTC_WIDTH vectors side by side: panel[count / DTC_WIDTH, rounded up][cols][DTC_WIDTH]; those beyond the
     * count are there, and count for nothing. */
    const float *panel;
    /* y[i * row_step + k * vector_step] += row (first + i) times vector k. */
    float *y;
    size_t row_step, vector_step;
};

#ifndef DTC_WIDTH
#define DTC_WIDTH 4
#endif

/* Rows that are multiplied at once, side by side too: strip[cols][DTC_ROWS]. */
enum { DTC_ROWS = 4 };

/* sums[DTC_ROWS][DTC_WIDTH] = a strip of rows times a strip of vectors. */
void dtc_tile(size_t cols, const float *rows, const float *vectors, float *sums);

/* Write a strip of rows; those of `count`, at most DTC_ROWS, that are missing are zeros. The decoder writes a row into
 * cols floats behind the strip. */
typedef void dtc_row_decoder(const dtc_matrix *w, size_t row, float *y);
void dtc_fill_strip(const dtc_matrix *w, dtc_row_decoder *decode, size_t first, size_t count, float *strip);

/* Add the sums of `rows` rows, the first being row `at` of the result, and the strip of vectors that begins at `start`. */
void dtc_add_sums(const float *sums, size_t at, size_t rows, size_t start, const dtc_vectors *x);

/* Add the products of a strip of rows, the first of `count` being row `at` of the result. */
void dtc_add_strip(size_t cols, const float *strip, size_t at, size_t count, const dtc_vectors *x);

/* The products of rows that are decoded, a strip at a time; scratch: (DTC_ROWS + 1) * cols. */
void dtc_decoded_products(const dtc_matrix *w, dtc_row_decoder *decode, size_t first, size_t count, const dtc_vectors *x,
                          float *scratch);

/* As they are: values[rows][cols]. */
void dtc_dense_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
void dtc_dense_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch);
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
void dtc_sparse_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch);
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
void dtc_signs_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch);
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
void dtc_codebook_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch);
void dtc_codebook_row(const dtc_matrix *w, size_t row, float *y);

/* left [rows, rank] times right [parts * rank, cols], of which each part is for as many rows, and no call for those of two.
 * Products take rank floats of scratch, for each vector of a strip, and what those of the factors take. */
typedef struct {
    size_t parts;
    const dtc_matrix *left, *right;
} dtc_low_rank;

void dtc_low_rank_product(const dtc_matrix *w, size_t first, size_t count, const float *x, float *y, float *scratch);
void dtc_low_rank_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch);

#endif
