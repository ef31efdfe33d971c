/* LayerNorm over the last axis: arXiv:1607.06450. */

#include "operator.h"

typedef struct {
    const float *x, *gamma, *beta, *out_grad;
    float *out, *partial; /* partial: gradients of gamma and beta of each part */
    float epsilon;
    int64_t channels;
} LayerNorm;

static inline void moments(const float *restrict row, int64_t channels, float epsilon, float *mean, float *scale) {
    float sum = 0, squares = 0;
    for (int64_t c = 0; c < channels; c++)
        sum += row[c];
    *mean = sum / channels;
    for (int64_t c = 0; c < channels; c++)
        squares += (row[c] - *mean) * (row[c] - *mean);
    *scale = 1.0f / sqrtf(squares / channels + epsilon);
}

static void layer_norm_part(const void *argument, int64_t begin, int64_t end, int part) {
    const LayerNorm *task = argument;
    int64_t channels = task->channels;
    const float *restrict gamma = task->gamma, *restrict beta = task->beta;
    for (int64_t i = begin; i < end; i++) {
        const float *restrict row = task->x + i * channels;
        float *restrict out = task->out + i * channels, mean, scale;
        moments(row, channels, task->epsilon, &mean, &scale);
        for (int64_t c = 0; c < channels; c++)
            out[c] = (row[c] - mean) * scale * gamma[c] + beta[c];
    }
}

static void layer_norm_grad_part(const void *argument, int64_t begin, int64_t end, int part) {
    const LayerNorm *task = argument;
    int64_t channels = task->channels;
    const float *restrict gamma = task->gamma;
    float *restrict gamma_grad = task->partial + 2 * part * channels, *restrict beta_grad = gamma_grad + channels;
    for (int64_t i = begin; i < end; i++) {
        const float *restrict row = task->x + i * channels, *restrict out_grad = task->out_grad + i * channels;
        float *restrict out = task->out + i * channels, mean, scale, sum = 0, product = 0;
        moments(row, channels, task->epsilon, &mean, &scale);
        for (int64_t c = 0; c < channels; c++) {
            float normal = (row[c] - mean) * scale, weighted = out_grad[c] * gamma[c];
            sum += weighted;
            product += weighted * normal;
            gamma_grad[c] += out_grad[c] * normal;
            beta_grad[c] += out_grad[c];
        }
        sum /= channels;
        product /= channels;
        for (int64_t c = 0; c < channels; c++)
            out[c] = scale * (out_grad[c] * gamma[c] - sum - (row[c] - mean) * scale * product);
    }
}

/* Whether the first four arrays are x (..., C), gamma (C), beta (C), epsilon (). */
static int shapes_fit(const int *ranks, int64_t **shapes) {
    if (ranks[0] < 1 || ranks[1] != 1 || !same_shape(1, shapes[1], ranks[2], shapes[2]))
        return 0;
    return shapes[1][0] > 0 && shapes[0][ranks[0] - 1] == shapes[1][0] && size(ranks[3], shapes[3]) == 1;
}

Shape layer_normInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (..., C), gamma (C), beta (C), epsilon () -> (..., C). */
int layer_norm(ARGUMENTS) {
    if (!types_are("fffff", count, types))
        return WRONG_TYPE;
    if (!shapes_fit(ranks, shapes) || !same_shape(ranks[0], shapes[0], ranks[4], shapes[4]))
        return WRONG_SHAPE;
    int64_t channels = shapes[1][0], elements = size(ranks[0], shapes[0]);
    LayerNorm task = {params[0], params[1], params[2], NULL, params[4], NULL, *(float *)params[3], channels};
    parallel_for(layer_norm_part, &task, elements / channels, parts_for(elements));
    return DONE;
}

/* x (..., C), gamma (C), beta (C), epsilon (), gradient of the output -> gradients of x, gamma, beta. */
int layer_norm_grad(ARGUMENTS) {
    if (!types_are("ffffffff", count, types))
        return WRONG_TYPE;
    if (!shapes_fit(ranks, shapes) || !same_shape(ranks[0], shapes[0], ranks[4], shapes[4]))
        return WRONG_SHAPE;
    for (int output = 0; output < 3; output++)
        if (!same_shape(ranks[output], shapes[output], ranks[5 + output], shapes[5 + output]))
            return WRONG_SHAPE;
    int64_t channels = shapes[1][0], elements = size(ranks[0], shapes[0]);
    int parts = parts_for(elements);
    float *partial = calloc(2 * parts * channels, sizeof *partial);
    if (!partial)
        return NO_MEMORY;
    LayerNorm task = {params[0], params[1], NULL, params[4], params[5], partial, *(float *)params[3], channels};
    parallel_for(layer_norm_grad_part, &task, elements / channels, parts);
    float *gamma_grad = params[6], *beta_grad = params[7];
    memcpy(gamma_grad, partial, channels * sizeof *partial);
    memcpy(beta_grad, partial + channels, channels * sizeof *partial);
    for (int part = 1; part < parts; part++)
        for (int64_t c = 0; c < channels; c++) {
            gamma_grad[c] += partial[2 * part * channels + c];
            beta_grad[c] += partial[(2 * part + 1) * channels + c];
        }
    free(partial);
    return DONE;
}
