/* The softmax of attention with something added to its scores, which many of them share: one pass over them. */

#include "softmax.h"

typedef struct {
    const float *scores, *biases, *softmax, *softmax_grad;
    const int32_t *which;
    float *out, *biases_grad;
    int64_t groups, queries, keys;
} BiasedSoftmax;

/* The sum of a row and its bias, into out; returns the highest, which NaN is not. */
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

static void softmax_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const BiasedSoftmax *task = argument;
    int64_t keys = task->keys, queries = task->queries;
    for (int64_t i = begin; i < end; i++) {
        const float *bias = task->biases + (task->which[i / queries] * queries + i % queries) * keys;
        float *out = task->out + i * keys;
        float highest = add_bias(task->scores + i * keys, bias, out, keys);
        scale_row(out, keys, 1.0f / exponentiate(out, keys, highest));
    }
}

/* Items are queries of all groups: no two of them write to the same row of a bias. */
static void softmax_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const BiasedSoftmax *task = argument;
    int64_t keys = task->keys, queries = task->queries;
    for (int64_t group = 0; group < task->groups; group++) {
        int64_t first = task->which[group] * queries;
        for (int64_t query = begin; query < end; query++) {
            int64_t row = (group * queries + query) * keys;
            const float *restrict weights = task->softmax + row, *restrict weights_grad = task->softmax_grad + row;
            float *restrict out = task->out + row, *restrict bias_grad = task->biases_grad + (first + query) * keys;
            float mean = 0;
            for (int64_t k = 0; k < keys; k++)
                mean += weights[k] * weights_grad[k];
            for (int64_t k = 0; k < keys; k++) {
                out[k] = weights[k] * (weights_grad[k] - mean);
                bias_grad[k] += out[k];
            }
        }
    }
}

/* Fill `task` from the first three arrays: scores or their softmax (..., Lq, Lk), biases (K, Lq, Lk) and which (...). */
static Status read_inputs(const int *ranks, int64_t **shapes, void **params, BiasedSoftmax *task) {
    if (ranks[0] < 2 || ranks[1] != 3 || memcmp(shapes[0] + ranks[0] - 2, shapes[1] + 1, 2 * sizeof(int64_t)))
        return WRONG_SHAPE;
    *task = (BiasedSoftmax){.biases = params[1], .which = params[2], .groups = size(ranks[0] - 2, shapes[0]),
                            .queries = shapes[1][1], .keys = shapes[1][2]};
    if (size(ranks[2], shapes[2]) != task->groups)
        return WRONG_SHAPE;
    for (int64_t group = 0; group < task->groups; group++)
        if (task->which[group] < 0 || task->which[group] >= shapes[1][0])
            return WRONG_INDEX;
    return DONE;
}

Shape biased_softmaxInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* scores (..., Lq, Lk), biases (K, Lq, Lk), which of them int32 (...) from 0 to K - 1 -> (..., Lq, Lk). A row of scores
   and bias that holds NaN or +inf, or -inf alone, has NaN. */
int biased_softmax(ARGUMENTS) {
    if (!types_are("ffif", count, types))
        return WRONG_TYPE;
    BiasedSoftmax task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    if (!same_shape(ranks[0], shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    task.scores = params[0], task.out = params[3];
    parallel_for(softmax_part, &task, task.groups * task.queries, parts_for(size(ranks[0], shapes[0])));
    return DONE;
}

/* The softmax, biases, which of them, gradient of the softmax -> gradients of scores and biases. */
int biased_softmax_grad(ARGUMENTS) {
    if (!types_are("ffifff", count, types))
        return WRONG_TYPE;
    BiasedSoftmax task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    if (!same_shape(ranks[0], shapes[0], ranks[3], shapes[3]) ||
        !same_shape(ranks[0], shapes[0], ranks[4], shapes[4]) || !same_shape(3, shapes[1], ranks[5], shapes[5]))
        return WRONG_SHAPE;
    task.softmax = params[0], task.softmax_grad = params[3], task.out = params[4], task.biases_grad = params[5];
    memset(task.biases_grad, 0, size(ranks[1], shapes[1]) * sizeof *task.biases_grad);
    parallel_for(softmax_grad_part, &task, task.queries, parts_for(size(ranks[0], shapes[0])));
    return DONE;
}
