/* The softmax of attention with something added to its scores, which many of them share: one pass over them. */

#include "threads.h"

#include "exponential.h"

#define LANES 16

typedef struct {
    const float *scores, *biases, *gradient; /* scores: of the gradient, the softmax */
    const int32_t *which;
    float *out, *of_biases;
    int64_t groups, queries, keys, choices;
} Softmax;

/* The bias of a group of rows; a number beyond the last choice means the last. */
static inline int64_t choice_of(const Softmax *task, int64_t group) {
    int64_t choice = task->which[group], last = task->choices - 1;
    return choice < 0 ? 0 : choice > last ? last : choice;
}

/* The sum of a row and its bias, into out; returns the highest. */
static inline float add_bias(const float *restrict row, const float *restrict bias, float *restrict out, int64_t keys) {
    float lanes[LANES], highest = -INFINITY;
    for (int lane = 0; lane < LANES; lane++)
        lanes[lane] = -INFINITY;
    int64_t k = 0;
    for (; k + LANES <= keys; k += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            float sum = row[k + lane] + bias[k + lane];
            out[k + lane] = sum;
            lanes[lane] = sum > lanes[lane] ? sum : lanes[lane];
        }
    for (; k < keys; k++) {
        out[k] = row[k] + bias[k];
        highest = out[k] > highest ? out[k] : highest;
    }
    for (int lane = 0; lane < LANES; lane++)
        highest = lanes[lane] > highest ? lanes[lane] : highest;
    return highest;
}

static void softmax_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Softmax *task = argument;
    int64_t keys = task->keys, queries = task->queries;
    for (int64_t i = begin; i < end; i++) {
        const float *bias = task->biases + (choice_of(task, i / queries) * queries + i % queries) * keys;
        float *restrict out = task->out + i * keys, sum = 0;
        float highest = add_bias(task->scores + i * keys, bias, out, keys);
        for (int64_t k = 0; k < keys; k++) {
            float below = out[k] - highest;
            float power = exponential(below);
            power = below < -87.0f ? 0.0f : power; /* where `exponential` stops falling */
            out[k] = power;
            sum += power;
        }
        float share = 1.0f / sum;
        for (int64_t k = 0; k < keys; k++)
            out[k] *= share;
    }
}

/* Items are queries of all groups: no two of them write to the same row of a bias. */
static void softmax_gradient_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Softmax *task = argument;
    int64_t keys = task->keys, queries = task->queries;
    for (int64_t group = 0; group < task->groups; group++) {
        int64_t first = choice_of(task, group) * queries;
        for (int64_t query = begin; query < end; query++) {
            int64_t row = (group * queries + query) * keys;
            const float *restrict shares = task->scores + row, *restrict gradient = task->gradient + row;
            float *restrict out = task->out + row, *restrict of_bias = task->of_biases + (first + query) * keys;
            float mean = 0;
            for (int64_t k = 0; k < keys; k++)
                mean += shares[k] * gradient[k];
            for (int64_t k = 0; k < keys; k++) {
                out[k] = shares[k] * (gradient[k] - mean);
                of_bias[k] += out[k];
            }
        }
    }
}

static Softmax softmax_task(int *ranks, int64_t **shapes, void **params) {
    Softmax task = {.scores = params[0], .biases = params[1], .which = params[2]};
    task.choices = shapes[1][0], task.queries = shapes[1][1], task.keys = shapes[1][2];
    int64_t rows = task.queries * task.keys;
    task.groups = rows ? size(ranks[0], shapes[0]) / rows : 0;
    return task;
}

Shape biased_softmaxInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* scores (..., Lq, Lk), biases (K, Lq, Lk), which of them int32 (...) -> (..., Lq, Lk). */
int biased_softmax(ARGUMENTS) {
    Softmax task = softmax_task(ranks, shapes, params);
    task.out = params[3];
    divide(softmax_part, &task, task.groups * task.queries, parts_for(size(ranks[0], shapes[0])));
    return 0;
}

/* the softmax, biases, which of them, gradient of the softmax -> gradients of scores and biases. */
int biased_softmax_gradient(ARGUMENTS) {
    Softmax task = softmax_task(ranks, shapes, params);
    task.gradient = params[3], task.out = params[4], task.of_biases = params[5];
    memset(task.of_biases, 0, size(ranks[1], shapes[1]) * sizeof *task.of_biases);
    divide(softmax_gradient_part, &task, task.queries, parts_for(size(ranks[0], shapes[0])));
    return 0;
}
