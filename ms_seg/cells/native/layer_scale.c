/* A residual connection whose branch is scaled, channel by channel: arXiv:2103.17239, section 3. */

#include "operator.h"

typedef struct {
    const float *x, *branch, *gamma, *out_grad;
    float *out, *gamma_grad; /* out: of the gradients, the branch's */
    int64_t rows, channels;
} LayerScale;

static void scale_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LayerScale *task = argument;
    const float *restrict gamma = task->gamma;
    for (int64_t i = begin; i < end; i++) {
        const float *restrict x = task->x + i * task->channels, *restrict branch = task->branch + i * task->channels;
        float *restrict out = task->out + i * task->channels;
        for (int64_t c = 0; c < task->channels; c++)
            out[c] = x[c] + gamma[c] * branch[c];
    }
}

/* Items are channels: a sum over rows is one thread's. */
static void scale_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LayerScale *task = argument;
    const float *restrict gamma = task->gamma;
    float *restrict gamma_grad = task->gamma_grad;
    for (int64_t i = 0; i < task->rows; i++) {
        const float *restrict branch = task->branch + i * task->channels;
        const float *restrict out_grad = task->out_grad + i * task->channels;
        float *restrict branch_grad = task->out + i * task->channels;
        for (int64_t c = begin; c < end; c++) {
            branch_grad[c] = gamma[c] * out_grad[c];
            gamma_grad[c] += branch[c] * out_grad[c];
        }
    }
}

/* Fill `task` from arrays (..., C) and (C), of which the first is number `wide`. */
static Status read_inputs(const int *ranks, int64_t **shapes, int wide, LayerScale *task) {
    if (ranks[wide] < 1 || ranks[wide + 1] != 1 || shapes[wide + 1][0] < 1 ||
        shapes[wide][ranks[wide] - 1] != shapes[wide + 1][0])
        return WRONG_SHAPE;
    task->channels = shapes[wide + 1][0];
    task->rows = size(ranks[wide], shapes[wide]) / task->channels;
    return DONE;
}

Shape layer_scaleInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (..., C), branch (..., C), gamma (C) -> x + gamma branch. */
int layer_scale(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    LayerScale task = {.x = params[0], .branch = params[1], .gamma = params[2], .out = params[3]};
    Status status = read_inputs(ranks, shapes, 1, &task);
    if (status)
        return status;
    for (int other = 0; other < count; other += 3)
        if (!same_shape(ranks[1], shapes[1], ranks[other], shapes[other]))
            return WRONG_SHAPE;
    parallel_for(scale_part, &task, task.rows, parts_for(task.rows * task.channels));
    return DONE;
}

/* branch, gamma, gradient of the output -> gradients of branch and gamma. */
int layer_scale_grad(ARGUMENTS) {
    if (!types_are("fffff", count, types))
        return WRONG_TYPE;
    LayerScale task = {.branch = params[0], .gamma = params[1], .out_grad = params[2], .out = params[3],
                       .gamma_grad = params[4]};
    Status status = read_inputs(ranks, shapes, 0, &task);
    if (status)
        return status;
    if (!same_shape(ranks[0], shapes[0], ranks[2], shapes[2]) ||
        !same_shape(ranks[0], shapes[0], ranks[3], shapes[3]) || !same_shape(1, shapes[1], ranks[4], shapes[4]))
        return WRONG_SHAPE;
    memset(task.gamma_grad, 0, task.channels * sizeof *task.gamma_grad);
    parallel_for(scale_grad_part, &task, task.channels, parts_for(task.rows * task.channels));
    return DONE;
}
