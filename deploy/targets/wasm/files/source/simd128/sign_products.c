/* What the signs of four columns stand for is looked up, for eight vectors at once; the codes of four rows lie in two
 * bytes. */
#include "kernels/half.h"
#include "simd128/lanes.h"
#include "simd128/tiles.h"

#include <string.h>

/* Of four columns; so many are there at once, which fit into the nearest memory. */
enum { CODES = 16, TABLE = CODES * DTC_WIDTH, TABLES = 32, LANE_ROWS = 4 };

/* For more of them rows are better decoded, once for all. */
enum { FEW_VECTORS = 16 };

_Static_assert(DTC_WIDTH == 8, "two registers");

/* Two registers are eight vectors. */
typedef struct {
    v128_t low, high;
} eight;

static inline eight eight_at(const float *x) { return (eight){wasm_v128_load(x), wasm_v128_load(x + 4)}; }

static inline eight add_eight(eight a, eight b) {
    return (eight){wasm_f32x4_add(a.low, b.low), wasm_f32x4_add(a.high, b.high)};
}

static inline void write_eight(eight a, float *y) {
    wasm_v128_store(y, a.low);
    wasm_v128_store(y + 4, a.high);
}

/* The sums of two columns for all signs of them. */
static inline void sum_pair(const float *columns, v128_t *sums) {
    const v128_t a = wasm_v128_load(columns), b = wasm_v128_load(columns + DTC_WIDTH);
    sums[3] = wasm_f32x4_add(a, b);
    sums[1] = wasm_f32x4_sub(a, b);
    sums[2] = wasm_f32x4_neg(sums[1]);
    sums[0] = wasm_f32x4_neg(sums[3]);
}

/* Write the sums of four columns for all signs of them: bit i of a code is set where column i is added. */
static void fill_table(const float *columns, float *table) {
    for (size_t half = 0; half < DTC_WIDTH; half += 4) {
        v128_t first[4], second[4];
        sum_pair(columns + half, first);
        sum_pair(columns + 2 * DTC_WIDTH + half, second);
        for (size_t code = 0; code < CODES; ++code)
            wasm_v128_store(table + code * DTC_WIDTH + half, wasm_f32x4_add(first[code % 4], second[code / 4]));
    }
}

/* Write the tables of columns, those behind the end counting as 0; return the sums of all columns. */
static eight fill_tables(const float *columns, size_t count, float *tables) {
    eight totals = {wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
    for (; count >= DTC_QUAD; count -= DTC_QUAD, columns += DTC_QUAD * DTC_WIDTH, tables += TABLE) {
        fill_table(columns, tables);
        totals = add_eight(totals, eight_at(tables + (CODES - 1) * DTC_WIDTH));
    }
    if (count > 0) {
        float last[DTC_QUAD * DTC_WIDTH] = {0};
        memcpy(last, columns, count * DTC_WIDTH * sizeof *last);
        fill_table(last, tables);
        totals = add_eight(totals, eight_at(tables + (CODES - 1) * DTC_WIDTH));
    }
    return totals;
}

/* The sums of what the codes of four rows, two bytes of each code's, stand for. */
static inline void look_up(const uint8_t *codes, size_t quads, const float *tables, eight *sums) {
    for (size_t i = 0; i < LANE_ROWS; ++i) sums[i] = (eight){wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
    for (const float *const end = tables + quads * TABLE; tables != end; tables += TABLE, codes += DTC_CODE_BYTES) {
        uint16_t both;
        memcpy(&both, codes, sizeof both);
        for (size_t i = 0; i < LANE_ROWS; ++i)
            sums[i] = add_eight(sums[i], eight_at(tables + (both >> 4 * i & 15) * DTC_WIDTH));
    }
}

/* Codes of one group: where they begin, how many they are, and the number of the group. */
typedef struct {
    size_t start, count, group;
} span;

static inline eight add_scaled(eight sum, float factor, eight numbers) {
    const v128_t four = wasm_f32x4_splat(factor);
    return (eight){dtc_add_product(sum.low, four, numbers.low), dtc_add_product(sum.high, four, numbers.high)};
}

/* Write the sums of four rows of a tile, `lane` being the first of them: lane, + 16, + 8, + 24. */
static void sum_lane(const dtc_matrix *w, size_t tile, size_t lane, span of, const float *tables, eight totals,
                     const size_t *rows, eight *sums) {
    const dtc_signs *form = w->form;
    const size_t quads = dtc_codes(w, DTC_QUAD), groups = (w->cols + form->group - 1) / form->group;
    const size_t place = tile * groups + of.group;
    const uint8_t *codes = form->codes + (tile * form->planes * quads + of.start) * DTC_CODE_BYTES + 2 * lane;
    for (size_t i = 0; i < LANE_ROWS; ++i) {
        const size_t at = place * DTC_TILE + rows[i];
        const float offset = form->offsets || form->half_offsets ? dtc_number(form->offsets, form->half_offsets, at) : 0;
        sums[i] = add_scaled((eight){wasm_f32x4_splat(0), wasm_f32x4_splat(0)}, offset, totals);
    }
    for (size_t plane = 0; plane < form->planes; ++plane, codes += quads * DTC_CODE_BYTES) {
        const size_t alphas = (place * form->planes + plane) * DTC_TILE;
        eight found[LANE_ROWS];
        look_up(codes, of.count, tables, found);
        for (size_t i = 0; i < LANE_ROWS; ++i) {
            const float alpha = dtc_number(form->alphas, form->half_alphas, alphas + rows[i]);
            sums[i] = add_scaled(sums[i], alpha, found[i]);
        }
    }
}

/* Add the sums of those of `count` rows that lie in a tile, to a strip of vectors. */
static void add_tile(const dtc_matrix *w, size_t tile, size_t first, size_t count, span of, const float *tables, eight totals,
                     size_t start, const dtc_vectors *x) {
    const size_t row = tile * DTC_TILE, end = first + count - row < DTC_TILE ? first + count - row : DTC_TILE;
    const size_t begin = first > row ? first - row : 0;
    float numbers[DTC_TILE * DTC_WIDTH];
    for (size_t lane = 0; lane < DTC_TILE / LANE_ROWS; ++lane) {
        const size_t rows[LANE_ROWS] = {lane, lane + 16, lane + 8, lane + 24};
        eight sums[LANE_ROWS];
        sum_lane(w, tile, lane, of, tables, totals, rows, sums);
        for (size_t i = 0; i < LANE_ROWS; ++i) write_eight(sums[i], numbers + rows[i] * DTC_WIDTH);
    }
    dtc_add_sums(numbers + begin * DTC_WIDTH, row + begin - first, end - begin, start, x);
}

/* scratch: 128 floats a quad of a span, or what decoding takes. */
void dtc_signs_products(const dtc_matrix *w, size_t first, size_t count, const dtc_vectors *x, float *scratch) {
    if (x->count > FEW_VECTORS) {
        dtc_signs_decoded_products(w, first, count, x, scratch);
        return;
    }
    const dtc_signs *form = w->form;
    const size_t quads = dtc_codes(w, DTC_QUAD), of_group = form->group / DTC_QUAD;
    for (size_t start = 0; start < x->count; start += DTC_WIDTH)
        for (span of = {0, 0, 0}; of.start < quads; of.start += of.count) {
            of.group = of.start / of_group;
            const size_t left = (of.group + 1) * of_group - of.start, col = of.start * DTC_QUAD;
            of.count = quads - of.start < left ? quads - of.start : left;
            if (of.count > TABLES) of.count = TABLES;
            const size_t columns = w->cols - col < of.count * DTC_QUAD ? w->cols - col : of.count * DTC_QUAD;
            const eight totals = fill_tables(x->panel + start * w->cols + col * DTC_WIDTH, columns, scratch);
            for (size_t tile = first / DTC_TILE; tile * DTC_TILE < first + count; ++tile)
                add_tile(w, tile, first, count, of, scratch, totals, start, x);
        }
}
