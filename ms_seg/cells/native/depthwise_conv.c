/* The 3x3 convolution of each channel by itself, stride 1, zeros around the edge. */

#include "operator.h"

typedef struct {
    const float *x, *weight, *out_grad, *zeros; /* zeros: a row beyond the edge */
    float *out, *weight_grad;
    int64_t samples, channels, height, width;
} DepthwiseConv;

static inline const float *row_at(const float *plane, int64_t y, const DepthwiseConv *task) {
    return y < 0 || y >= task->height ? task->zeros : plane + y * task->width;
}

static void correlate(const DepthwiseConv *task, const float *plane, const float *w, float *out_plane) {
    int64_t width = task->width;
    for (int64_t y = 0; y < task->height; y++) {
        const float *restrict a = row_at(plane, y - 1, task), *restrict b = row_at(plane, y, task);
        const float *restrict c = row_at(plane, y + 1, task);
        float *restrict out = out_plane + y * width;
        for (int64_t x = 1; x < width - 1; x++)
            out[x] = w[0] * a[x - 1] + w[1] * a[x] + w[2] * a[x + 1] + w[3] * b[x - 1] + w[4] * b[x] + w[5] * b[x + 1] +
                     w[6] * c[x - 1] + w[7] * c[x] + w[8] * c[x + 1];
        int64_t last = width - 1;
        out[0] = w[1] * a[0] + w[4] * b[0] + w[7] * c[0];
        if (width > 1) {
            out[0] += w[2] * a[1] + w[5] * b[1] + w[8] * c[1];
            out[last] = w[0] * a[last - 1] + w[1] * a[last] + w[3] * b[last - 1] + w[4] * b[last] + w[6] * c[last - 1] +
                        w[7] * c[last];
        }
    }
}

static void conv_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const DepthwiseConv *task = argument;
    int64_t area = task->height * task->width;
    for (int64_t plane = begin; plane < end; plane++) /* of all samples */
        correlate(task, task->x + plane * area, task->weight + 9 * (plane % task->channels), task->out + plane * area);
}

/* Add to sums (3) the products of a row of gradients with a row of inputs shifted by one, by none, by minus one. */
static void add_products(const float *restrict out_grad, const float *restrict row, int64_t width, float *sums) {
    float before = 0, here = out_grad[0] * row[0], after = 0;
    for (int64_t x = 1; x < width; x++) {
        before += out_grad[x] * row[x - 1];
        here += out_grad[x] * row[x];
        after += out_grad[x - 1] * row[x];
    }
    sums[0] += before;
    sums[1] += here;
    sums[2] += after;
}

static void conv_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const DepthwiseConv *task = argument;
    int64_t area = task->height * task->width;
    for (int64_t channel = begin; channel < end; channel++) {
        const float *weight = task->weight + 9 * channel;
        float mirrored[9], sums[9] = {0};
        for (int tap = 0; tap < 9; tap++)
            mirrored[tap] = weight[8 - tap];
        for (int64_t sample = 0; sample < task->samples; sample++) {
            int64_t offset = (sample * task->channels + channel) * area;
            const float *x = task->x + offset, *out_grad = task->out_grad + offset;
            correlate(task, out_grad, mirrored, task->out + offset);
            float sample_sums[9] = {0};
            for (int64_t y = 0; y < task->height; y++, out_grad += task->width)
                for (int tap = 0; tap < 3; tap++)
                    add_products(out_grad, row_at(x, y + tap - 1, task), task->width, sample_sums + 3 * tap);
            for (int tap = 0; tap < 9; tap++)
                sums[tap] += sample_sums[tap];
        }
        memcpy(task->weight_grad + 9 * channel, sums, sizeof sums);
    }
}

/* Whether the first two arrays are x (N, C, H, W), whose planes are not empty, and weight (C, 1, 3, 3). */
static int shapes_fit(const int *ranks, int64_t **shapes) {
    if (ranks[0] != 4 || ranks[1] != 4 || shapes[0][2] < 1 || shapes[0][3] < 1)
        return 0;
    return !memcmp(shapes[1], (int64_t[]){shapes[0][1], 1, 3, 3}, 4 * sizeof(int64_t));
}

static DepthwiseConv task_of(const int64_t *shape, void **params) {
    DepthwiseConv task = {.x = params[0], .weight = params[1]};
    task.samples = shape[0], task.channels = shape[1], task.height = shape[2], task.width = shape[3];
    task.zeros = calloc(task.width, sizeof *task.zeros);
    return task;
}

Shape depthwise_convInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (N, C, H, W), weight (C, 1, 3, 3) -> (N, C, H, W). */
int depthwise_conv(ARGUMENTS) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    if (!shapes_fit(ranks, shapes) || !same_shape(ranks[0], shapes[0], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    DepthwiseConv task = task_of(shapes[0], params);
    if (!task.zeros)
        return NO_MEMORY;
    task.out = params[2];
    parallel_for(conv_part, &task, task.samples * task.channels, parts_for(size(ranks[0], shapes[0])));
    free((void *)task.zeros);
    return DONE;
}

/* x, weight, gradient of the output -> gradients of x, weight. */
int depthwise_conv_grad(ARGUMENTS) {
    if (!types_are("fffff", count, types))
        return WRONG_TYPE;
    if (!shapes_fit(ranks, shapes) || !same_shape(ranks[0], shapes[0], ranks[2], shapes[2]) ||
        !same_shape(ranks[0], shapes[0], ranks[3], shapes[3]) || !same_shape(ranks[1], shapes[1], ranks[4], shapes[4]))
        return WRONG_SHAPE;
    DepthwiseConv task = task_of(shapes[0], params);
    if (!task.zeros)
        return NO_MEMORY;
    task.out_grad = params[2], task.out = params[3], task.weight_grad = params[4];
    parallel_for(conv_grad_part, &task, task.channels, parts_for(size(ranks[0], shapes[0])));
    free((void *)task.zeros);
    return DONE;
}
