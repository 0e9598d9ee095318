#include "elementwise.h"
#include "products.h"
#include "recurrent.h"

#include <math.h>
#include <string.h>

/* Put numbers through an activation, cut before where they are to be. */
static void activate(const dtc_recurrent_shape *shape, size_t count, float *x, void (*squash)(size_t, const float *, float *)) {
    for (size_t i = 0; shape->clip > 0 && i < count; ++i) x[i] = fminf(fmaxf(x[i], -shape->clip), shape->clip);
    squash(count, x, x);
}

static void add(size_t count, const float *x, float *y) {
    for (size_t i = 0; i < count; ++i) y[i] += x[i];
}

static void add_product(size_t count, const float *a, const float *b, float *y) {
    for (size_t i = 0; i < count; ++i) y[i] += a[i] * b[i];
}

static void start(const dtc_recurrent_shape *shape, const float *first, float *state) {
    const size_t bytes = shape->directions * shape->batch * shape->hidden * sizeof *state;
    if (first)
        memcpy(state, first, bytes);
    else
        memset(state, 0, bytes);
}

static size_t step_of(const dtc_recurrent_shape *shape, size_t direction, size_t turn) {
    return shape->reverse || direction == 1 ? shape->steps - 1 - turn : turn;
}

static void set(float *y, const float *bias, size_t first, size_t count) {
    for (size_t i = 0; i < count; ++i) y[i] = bias ? bias[first + i] : 0;
}

static void keep(const dtc_recurrent_shape *shape, size_t step, size_t direction, size_t n, const float *h, float *y) {
    const size_t place = (step * shape->directions + direction) * shape->batch + n;
    if (y) memcpy(y + place * shape->hidden, h, shape->hidden * sizeof *h);
}

/* What the inputs of steps give to gates of one direction. */
typedef struct {
    const dtc_recurrent_shape *shape;
    const dtc_matrix *w;
    const float *bias;
    size_t direction, rows;
    float *gates, *rest;
} given;

/* Write the gates of a turn and of those that are computed together with it. */
static void write_gates(const given *all, size_t turn, const float *x) {
    const dtc_recurrent_shape *shape = all->shape;
    const size_t left = shape->steps - turn, steps = left < shape->together ? left : shape->together;
    const size_t batch = shape->batch, rows = all->rows, first = all->direction * rows, count = steps * batch;
    for (size_t i = 0; i < count; ++i) set(all->gates + i * rows, all->bias, first, rows);
    if (shape->together == 1) {
        x += step_of(shape, all->direction, turn) * batch * shape->input;
        for (size_t n = 0; n < batch; ++n)
            all->w->product(all->w, first, rows, x + n * shape->input, all->gates + n * rows, all->rest);
        return;
    }
    /* The steps lie in this order in memory, whichever way they are gone through. */
    const size_t one = step_of(shape, all->direction, turn), other = step_of(shape, all->direction, turn + steps - 1);
    x += (one < other ? one : other) * batch * shape->input;
    dtc_pack(count, shape->input, x, (ptrdiff_t)shape->input, all->rest);
    const dtc_vectors vectors = {count, all->rest, all->gates, 1, rows};
    const size_t strips = (shape->together * batch + DTC_WIDTH - 1) / DTC_WIDTH;
    all->w->products(all->w, first, rows, &vectors, all->rest + strips * DTC_WIDTH * shape->input);
}

/* Return the gates of a turn, [batch][rows], which are written when they are not there. */
static float *gates_of(const given *all, size_t turn, const float *x) {
    const dtc_recurrent_shape *shape = all->shape;
    size_t place = turn % shape->together;
    if (place == 0) write_gates(all, turn, x);
    const size_t left = shape->steps - (turn - place), steps = left < shape->together ? left : shape->together;
    if (step_of(shape, all->direction, 0) != 0) place = steps - 1 - place;
    return all->gates + place * shape->batch * all->rows;
}

/* Where the scratch begins that is not the gates' of the inputs. */
static float *behind_gates(const dtc_recurrent_shape *shape, size_t rows, float *scratch) {
    return scratch + shape->together * shape->batch * rows;
}

void dtc_lstm(const dtc_recurrent_shape *shape, const dtc_matrix *w, const dtc_matrix *r, const float *w_bias,
              const float *r_bias, const float *peepholes, const float *x, const float *first_h, const float *first_c,
              float *y, float *h, float *c, float *scratch) {
    const size_t hidden = shape->hidden, rows = 4 * hidden;
    float *rest = behind_gates(shape, rows, scratch);
    start(shape, first_h, h);
    start(shape, first_c, c);
    for (size_t d = 0; d < shape->directions; ++d) {
        const given inputs = {shape, w, w_bias, d, rows, scratch, rest};
        for (size_t turn = 0; turn < shape->steps; ++turn) {
            const size_t step = step_of(shape, d, turn);
            float *gates = gates_of(&inputs, turn, x);
            for (size_t n = 0; n < shape->batch; ++n, gates += rows) {
                float *state = h + (d * shape->batch + n) * hidden, *cell = c + (d * shape->batch + n) * hidden;
                if (r_bias) add(rows, r_bias + d * rows, gates);
                r->product(r, d * rows, rows, state, gates, rest);
                float *in = gates, *out = in + hidden, *forget = out + hidden, *fresh = forget + hidden;
                if (peepholes) {
                    add_product(hidden, peepholes + 3 * d * hidden, cell, in);
                    add_product(hidden, peepholes + (3 * d + 2) * hidden, cell, forget);
                }
                activate(shape, hidden, in, dtc_sigmoid);
                activate(shape, hidden, forget, dtc_sigmoid);
                activate(shape, hidden, fresh, dtc_tanh);
                for (size_t i = 0; i < hidden; ++i) cell[i] = forget[i] * cell[i] + in[i] * fresh[i];
                if (peepholes) add_product(hidden, peepholes + (3 * d + 1) * hidden, cell, out);
                activate(shape, hidden, out, dtc_sigmoid);
                dtc_tanh(hidden, cell, state);
                for (size_t i = 0; i < hidden; ++i) state[i] *= out[i];
                keep(shape, step, d, n, state, y);
            }
        }
    }
}

void dtc_gru(const dtc_recurrent_shape *shape, const dtc_matrix *w, const dtc_matrix *r, const float *w_bias,
             const float *r_bias, const float *x, const float *first_h, float *y, float *h, float *scratch) {
    const size_t hidden = shape->hidden, rows = 3 * hidden;
    /* z r h of the input and of the state, and the state behind the reset gate */
    float *recurrent = behind_gates(shape, rows, scratch), *reset = recurrent + rows, *rest = reset + hidden;
    start(shape, first_h, h);
    for (size_t d = 0; d < shape->directions; ++d) {
        const given inputs = {shape, w, w_bias, d, rows, scratch, rest};
        const size_t first = d * rows, count = shape->before_reset ? rows : 2 * hidden;
        for (size_t turn = 0; turn < shape->steps; ++turn) {
            const size_t step = step_of(shape, d, turn);
            float *gates = gates_of(&inputs, turn, x);
            for (size_t n = 0; n < shape->batch; ++n, gates += rows) {
                float *state = h + (d * shape->batch + n) * hidden;
                set(recurrent, r_bias, first, rows);
                r->product(r, first, count, state, recurrent, rest);
                float *update = gates, *forget = update + hidden, *fresh = forget + hidden;
                add(2 * hidden, recurrent, gates);
                activate(shape, 2 * hidden, gates, dtc_sigmoid);
                if (shape->before_reset) {
                    for (size_t i = 0; i < hidden; ++i) recurrent[2 * hidden + i] *= forget[i];
                } else {
                    for (size_t i = 0; i < hidden; ++i) reset[i] = forget[i] * state[i];
                    r->product(r, first + 2 * hidden, hidden, reset, recurrent + 2 * hidden, rest);
                }
                add(hidden, recurrent + 2 * hidden, fresh);
                activate(shape, hidden, fresh, dtc_tanh);
                for (size_t i = 0; i < hidden; ++i) state[i] = (1 - update[i]) * fresh[i] + update[i] * state[i];
                keep(shape, step, d, n, state, y);
            }
        }
    }
}

void dtc_rnn(const dtc_recurrent_shape *shape, const dtc_matrix *w, const dtc_matrix *r, const float *w_bias,
             const float *r_bias, const float *x, const float *first_h, float *y, float *h, float *scratch) {
    const size_t hidden = shape->hidden;
    float *rest = behind_gates(shape, hidden, scratch);
    start(shape, first_h, h);
    for (size_t d = 0; d < shape->directions; ++d) {
        const given inputs = {shape, w, w_bias, d, hidden, scratch, rest};
        for (size_t turn = 0; turn < shape->steps; ++turn) {
            const size_t step = step_of(shape, d, turn);
            float *sums = gates_of(&inputs, turn, x);
            for (size_t n = 0; n < shape->batch; ++n, sums += hidden) {
                float *state = h + (d * shape->batch + n) * hidden;
                if (r_bias) add(hidden, r_bias + d * hidden, sums);
                r->product(r, d * hidden, hidden, state, sums, rest);
                activate(shape, hidden, sums, dtc_tanh);
                memcpy(state, sums, hidden * sizeof *state);
                keep(shape, step, d, n, state, y);
            }
        }
    }
}
