/* A residual connection whose branch is scaled, channel by channel: x + gamma branch (arXiv:2103.17239, section 3). */

#include "operator.h"

typedef struct {
    const float *x, *gamma, *branch, *out_grad;
    float *out, *partial; /* partial: the gradient of gamma of each part */
    int64_t channels;
} LayerScale;

static void layer_scale_part(const void *argument, int64_t begin, int64_t end, int part) {
    const LayerScale *task = argument;
    int64_t channels = task->channels;
    const float *restrict gamma = task->gamma;
    for (int64_t i = begin; i < end; i++) {
        const float *restrict x = task->x + i * channels, *restrict branch = task->branch + i * channels;
        float *restrict out = task->out + i * channels;
        for (int64_t c = 0; c < channels; c++)
            out[c] = x[c] + gamma[c] * branch[c];
    }
}

static void layer_scale_grad_part(const void *argument, int64_t begin, int64_t end, int part) {
    const LayerScale *task = argument;
    int64_t channels = task->channels;
    const float *restrict gamma = task->gamma;
    float *restrict gamma_grad = task->partial + part * channels;
    for (int64_t i = begin; i < end; i++) {
        const float *restrict branch = task->branch + i * channels, *restrict out_grad = task->out_grad + i * channels;
        float *restrict out = task->out + i * channels;
        for (int64_t c = 0; c < channels; c++) {
            out[c] = gamma[c] * out_grad[c];
            gamma_grad[c] += branch[c] * out_grad[c];
        }
    }
}

Shape layer_scaleInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (..., C), branch (..., C), gamma (C) -> (..., C). */
int layer_scale(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    if (ranks[0] < 1 || ranks[2] != 1 || shapes[2][0] < 1 || shapes[0][ranks[0] - 1] != shapes[2][0])
        return WRONG_SHAPE;
    if (!same_shape(ranks[0], shapes[0], ranks[1], shapes[1]) || !same_shape(ranks[0], shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    int64_t channels = shapes[2][0], elements = size(ranks[0], shapes[0]);
    LayerScale task = {.x = params[0], .branch = params[1], .gamma = params[2], .out = params[3], .channels = channels};
    parallel_for(layer_scale_part, &task, elements / channels, parts_for(elements));
    return DONE;
}

/* branch (..., C), gamma (C), gradient of the output -> gradients of branch and gamma. */
int layer_scale_grad(ARGUMENTS) {
    if (!types_are("fffff", count, types))
        return WRONG_TYPE;
    if (ranks[0] < 1 || ranks[1] != 1 || shapes[1][0] < 1 || shapes[0][ranks[0] - 1] != shapes[1][0])
        return WRONG_SHAPE;
    if (!same_shape(ranks[0], shapes[0], ranks[2], shapes[2]) ||
        !same_shape(ranks[0], shapes[0], ranks[3], shapes[3]) || !same_shape(1, shapes[1], ranks[4], shapes[4]))
        return WRONG_SHAPE;
    int64_t channels = shapes[1][0], elements = size(ranks[0], shapes[0]);
    int parts = parts_for(elements);
    float *partial = calloc(parts * channels, sizeof *partial), *gamma_grad = params[4];
    if (!partial)
        return NO_MEMORY;
    LayerScale task = {.branch = params[0], .gamma = params[1], .out_grad = params[2], .out = params[3],
                       .partial = partial, .channels = channels};
    parallel_for(layer_scale_grad_part, &task, elements / channels, parts);
    memcpy(gamma_grad, partial, channels * sizeof *partial);
    for (int part = 1; part < parts; part++)
        for (int64_t c = 0; c < channels; c++)
            gamma_grad[c] += partial[part * channels + c];
    free(partial);
    return DONE;
}
