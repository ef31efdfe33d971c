/* Group norm: arXiv:1803.08494. */

#include "operator.h"

typedef struct {
    const float *x, *gamma, *beta, *out_grad;
    float *out, *gamma_grad, *beta_grad; /* out: of the gradients, x's */
    float epsilon;
    int64_t samples, groups, channels, area; /* channels: of a group */
} GroupNorm;

enum { BLOCK = 4096 }; /* numbers whose sum is taken in float32 */

/* The sum of f(x, y) over `size` numbers, as a float64 of sums of blocks; y is x where there is no other. */
#define SUM(expression)                                                     \
    double total = 0;                                                       \
    for (int64_t first = 0; first < size; first += BLOCK) {                 \
        int64_t end = first + BLOCK < size ? first + BLOCK : size;          \
        float sum = 0;                                                      \
        for (int64_t i = first; i < end; i++)                               \
            sum += (expression);                                            \
        total += sum;                                                       \
    }                                                                       \
    return total;

static double sum_of(const float *restrict x, int64_t size) { SUM(x[i]) }
static double squares_of(const float *restrict x, int64_t size, float mean) { SUM((x[i] - mean) * (x[i] - mean)) }
static double product_of(const float *restrict x, const float *restrict y, int64_t size, float mean) {
    SUM((x[i] - mean) * y[i])
}

static void moments(const GroupNorm *task, const float *x, float *mean, float *scale) {
    int64_t size = task->channels * task->area;
    *mean = (float)(sum_of(x, size) / size);
    *scale = (float)(1 / sqrt(squares_of(x, size, *mean) / size + task->epsilon));
}

/* Items are groups of all samples. */
static void group_norm_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const GroupNorm *task = argument;
    for (int64_t item = begin; item < end; item++) {
        const float *x = task->x + item * task->channels * task->area;
        float *out = task->out + item * task->channels * task->area, mean, scale;
        moments(task, x, &mean, &scale);
        for (int64_t channel = 0; channel < task->channels; channel++) {
            int64_t c = item % task->groups * task->channels + channel;
            float factor = scale * task->gamma[c], shift = task->beta[c];
            const float *restrict from = x + channel * task->area;
            float *restrict to = out + channel * task->area;
            for (int64_t i = 0; i < task->area; i++)
                to[i] = (from[i] - mean) * factor + shift;
        }
    }
}

static void group_grad(const GroupNorm *task, int64_t sample, int64_t group) {
    int64_t area = task->area, first = (sample * task->groups + group) * task->channels * area;
    const float *x = task->x + first, *out_grad = task->out_grad + first;
    float *out = task->out + first, mean, scale;
    double sum = 0, product = 0; /* of gamma times out_grad, and that times the normalised x */
    moments(task, x, &mean, &scale);
    for (int64_t channel = 0; channel < task->channels; channel++) {
        int64_t c = group * task->channels + channel;
        double of_beta = sum_of(out_grad + channel * area, area);
        double of_gamma = scale * product_of(x + channel * area, out_grad + channel * area, area, mean);
        task->beta_grad[c] += (float)of_beta;
        task->gamma_grad[c] += (float)of_gamma;
        sum += task->gamma[c] * of_beta;
        product += task->gamma[c] * of_gamma;
    }
    float shift = (float)(sum / (task->channels * area)), slope = (float)(product / (task->channels * area)) * scale;
    for (int64_t channel = 0; channel < task->channels; channel++) {
        float gamma = task->gamma[group * task->channels + channel];
        const float *restrict from = x + channel * area, *restrict grad = out_grad + channel * area;
        float *restrict to = out + channel * area;
        for (int64_t i = 0; i < area; i++)
            to[i] = scale * (gamma * grad[i] - shift - (from[i] - mean) * slope);
    }
}

/* Items are groups: the sums over samples are one thread's. */
static void group_norm_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const GroupNorm *task = argument;
    for (int64_t group = begin; group < end; group++)
        for (int64_t sample = 0; sample < task->samples; sample++)
            group_grad(task, sample, group);
}

/* Fill `task` from the first five arrays: x (N, C, ...), gamma (C), beta (C), groups int32 (), epsilon (). */
static Status read_inputs(const int *ranks, int64_t **shapes, void **params, GroupNorm *task) {
    if (ranks[0] < 2 || ranks[1] != 1 || !same_shape(1, shapes[1], ranks[2], shapes[2]) || size(ranks[3], shapes[3]) != 1 ||
        size(ranks[4], shapes[4]) != 1 || shapes[0][1] != shapes[1][0] || shapes[0][1] < 1)
        return WRONG_SHAPE;
    int32_t groups = *(int32_t *)params[3];
    if (groups < 1 || shapes[0][1] % groups)
        return WRONG_INDEX;
    *task = (GroupNorm){.x = params[0], .gamma = params[1], .beta = params[2], .epsilon = *(float *)params[4],
                        .samples = shapes[0][0], .groups = groups, .channels = shapes[0][1] / groups,
                        .area = size(ranks[0] - 2, shapes[0] + 2)};
    return DONE;
}

Shape group_normInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (N, C, ...), gamma (C), beta (C), groups int32 (), which divides C, epsilon () -> the shape of x. */
int group_norm(ARGUMENTS) {
    if (!types_are("fffiff", count, types))
        return WRONG_TYPE;
    GroupNorm task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    if (!same_shape(ranks[0], shapes[0], ranks[5], shapes[5]))
        return WRONG_SHAPE;
    task.out = params[5];
    parallel_for(group_norm_part, &task, task.samples * task.groups, parts_for(size(ranks[0], shapes[0])));
    return DONE;
}

/* x, gamma, beta, groups, epsilon, gradient of the output -> gradients of x, gamma, beta. */
int group_norm_grad(ARGUMENTS) {
    if (!types_are("fffifffff", count, types))
        return WRONG_TYPE;
    GroupNorm task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    if (!same_shape(ranks[0], shapes[0], ranks[5], shapes[5]))
        return WRONG_SHAPE;
    for (int output = 0; output < 3; output++)
        if (!same_shape(ranks[output], shapes[output], ranks[6 + output], shapes[6 + output]))
            return WRONG_SHAPE;
    task.out_grad = params[5], task.out = params[6], task.gamma_grad = params[7], task.beta_grad = params[8];
    memset(task.gamma_grad, 0, size(1, shapes[1]) * sizeof *task.gamma_grad);
    memset(task.beta_grad, 0, size(1, shapes[1]) * sizeof *task.beta_grad);
    parallel_for(group_norm_grad_part, &task, task.groups, parts_for(size(ranks[0], shapes[0])));
    return DONE;
}
