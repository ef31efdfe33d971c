/* LayerNorm over the last axis: arXiv:1607.06450. */

#include "operator.h"

enum { STRIP = 512 }; /* rows whose gradients of gamma and beta are summed up first */

typedef struct {
    const float *x, *gamma, *beta, *out_grad;
    float *out, *partial; /* partial: gradients of gamma and beta of each strip */
    float epsilon;
    int64_t rows, channels;
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

static void layer_norm_part(const void *argument, int64_t begin, int64_t end, int worker) {
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

static void layer_norm_grad_strip(const LayerNorm *task, int64_t strip) {
    int64_t channels = task->channels, end = (strip + 1) * STRIP;
    const float *restrict gamma = task->gamma;
    float *restrict gamma_grad = task->partial + 2 * strip * channels, *restrict beta_grad = gamma_grad + channels;
    for (int64_t i = strip * STRIP; i < end && i < task->rows; i++) {
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

/* Items are strips. */
static void layer_norm_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    for (int64_t strip = begin; strip < end; strip++)
        layer_norm_grad_strip(argument, strip);
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
    LayerNorm task = {.x = params[0], .gamma = params[1], .beta = params[2], .epsilon = *(float *)params[3],
                      .out = params[4], .rows = elements / channels, .channels = channels};
    parallel_for(layer_norm_part, &task, task.rows, parts_for(elements));
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
    int64_t strips = (elements / channels + STRIP - 1) / STRIP;
    float *partial = calloc(2 * strips * channels + 1, sizeof *partial);
    if (!partial)
        return NO_MEMORY;
    LayerNorm task = {.x = params[0], .gamma = params[1], .epsilon = *(float *)params[3], .out_grad = params[4],
                      .out = params[5], .partial = partial, .rows = elements / channels, .channels = channels};
    parallel_for(layer_norm_grad_part, &task, strips, parts_for(elements));
    float *gamma_grad = params[6], *beta_grad = params[7];
    memset(gamma_grad, 0, channels * sizeof *gamma_grad);
    memset(beta_grad, 0, channels * sizeof *beta_grad);
    for (int64_t strip = 0; strip < strips; strip++)
        for (int64_t c = 0; c < channels; c++) {
            gamma_grad[c] += partial[2 * strip * channels + c];
            beta_grad[c] += partial[(2 * strip + 1) * channels + c];
        }
    free(partial);
    return DONE;
}
