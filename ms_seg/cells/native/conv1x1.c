/* A 1x1 convolution: in each sample a product of matrices, (out_channels, channels) (channels, H W), and its bias. */

#include "product.h"

enum { STRIP = 1024 }; /* positions of a piece, about */

typedef struct {
    const float *x, *weight, *bias, *out_grad;
    float *out;
    Sgemm sgemm;
    int64_t samples, channels, out_channels, area;
    int64_t strip, strips; /* positions of a piece, and pieces of a sample; of the weight's gradient, output channels */
} Conv;

static inline int64_t size_of_piece(const Conv *task, int64_t first, int64_t end) {
    return end - first < task->strip ? end - first : task->strip;
}

/* Items are strips of positions, of all samples. */
static void conv_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Conv *task = argument;
    for (int64_t item = begin; item < end; item++) {
        int64_t sample = item / task->strips, first = item % task->strips * task->strip;
        int64_t count = size_of_piece(task, first, task->area);
        float *out = task->out + sample * task->out_channels * task->area + first;
        for (int64_t c = 0; c < task->out_channels; c++)
            for (int64_t i = 0; i < count; i++)
                out[c * task->area + i] = task->bias[c];
        product(task->sgemm, task->out_channels, count, task->channels, (Matrix){task->weight, task->channels, 0},
                (Matrix){task->x + sample * task->channels * task->area + first, task->area, 0}, 1, out, task->area);
    }
}

/* The gradient of x, weight^T out_grad: items as above. */
static void x_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Conv *task = argument;
    for (int64_t item = begin; item < end; item++) {
        int64_t sample = item / task->strips, first = item % task->strips * task->strip;
        product(task->sgemm, task->channels, size_of_piece(task, first, task->area), task->out_channels,
                (Matrix){task->weight, task->channels, 1},
                (Matrix){task->out_grad + sample * task->out_channels * task->area + first, task->area, 0}, 0,
                task->out + sample * task->channels * task->area + first, task->area);
    }
}

/* The gradient of the weight, the sum of out_grad x^T over samples: items are strips of output channels. */
static void weight_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Conv *task = argument;
    for (int64_t item = begin; item < end; item++) {
        int64_t first = item * task->strip;
        for (int64_t sample = 0; sample < task->samples; sample++)
            product(task->sgemm, size_of_piece(task, first, task->out_channels), task->channels, task->area,
                    (Matrix){task->out_grad + (sample * task->out_channels + first) * task->area, task->area, 0},
                    (Matrix){task->x + sample * task->channels * task->area, task->area, 1}, sample > 0,
                    task->out + first * task->channels, task->channels);
    }
}

/* Items are channels. */
static void bias_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Conv *task = argument;
    for (int64_t channel = begin; channel < end; channel++) {
        double total = 0;
        for (int64_t sample = 0; sample < task->samples; sample++) {
            const float *restrict grad = task->out_grad + (sample * task->out_channels + channel) * task->area;
            for (int64_t first = 0; first < task->area; first += STRIP) {
                float sum = 0;
                for (int64_t i = first; i < first + STRIP && i < task->area; i++)
                    sum += grad[i];
                total += sum;
            }
        }
        task->out[channel] = (float)total;
    }
}

static inline int64_t work_of(const Conv *task) { /* as elements of other operators take time */
    return task->samples * task->out_channels * task->area * (task->channels / 64 + 1);
}

/* Fill the sizes of `task` from the shapes of x (N, C, H, W), weight (O, C, 1, 1) and an output (N, O, H, W). */
static Status read_sizes(const int *ranks, int64_t **shapes, int x, int weight, int output, Conv *task) {
    if (ranks[x] != 4 || ranks[weight] != 4 || shapes[x][1] < 1 || shapes[weight][0] < 1 ||
        !same_shape(4, (int64_t[]){shapes[weight][0], shapes[x][1], 1, 1}, 4, shapes[weight]) ||
        !same_shape(4, (int64_t[]){shapes[x][0], shapes[weight][0], shapes[x][2], shapes[x][3]}, ranks[output],
                    shapes[output]))
        return WRONG_SHAPE;
    task->sgemm = find_sgemm();
    task->samples = shapes[x][0], task->channels = shapes[x][1], task->out_channels = shapes[weight][0];
    task->area = shapes[x][2] * shapes[x][3];
    return DONE;
}

/* Cut `items` into an even number of pieces, of about STRIP at most. */
static void cut(Conv *task, int64_t items, int64_t most) {
    int64_t pieces = 2 * ((items + 2 * most - 1) / (2 * most));
    task->strip = items ? (items + pieces - 1) / pieces : 1;
    task->strips = (items + task->strip - 1) / task->strip;
}

Shape conv1x1InferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 4 && ranks[1] == 4)
        shape.begin[1] = shapes[1][0];
    return shape;
}

/* x (N, C, H, W), weight (O, C, 1, 1), bias (O) -> (N, O, H, W). */
int conv1x1(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    Conv task = {.x = params[0], .weight = params[1], .bias = params[2], .out = params[3]};
    Status status = read_sizes(ranks, shapes, 0, 1, 3, &task);
    if (status)
        return status;
    if (!same_shape(1, shapes[1], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    cut(&task, task.area, STRIP);
    parallel_for(conv_part, &task, task.samples * task.strips, parts_for(work_of(&task)));
    return DONE;
}

/* x, weight, gradient of the output -> gradient of x. */
int conv1x1_x_grad(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    Conv task = {.weight = params[1], .out_grad = params[2], .out = params[3]};
    Status status = read_sizes(ranks, shapes, 0, 1, 2, &task);
    if (status)
        return status;
    if (!same_shape(4, shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    cut(&task, task.area, STRIP);
    parallel_for(x_grad_part, &task, task.samples * task.strips, parts_for(work_of(&task)));
    return DONE;
}

/* weight, x, gradient of the output -> gradient of the weight. */
int conv1x1_weight_grad(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    Conv task = {.x = params[1], .out_grad = params[2], .out = params[3]};
    Status status = read_sizes(ranks, shapes, 1, 0, 2, &task);
    if (status)
        return status;
    if (!same_shape(4, shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    if (!task.samples || !task.area)
        memset(task.out, 0, size(4, shapes[0]) * sizeof *task.out);
    cut(&task, task.out_channels, STRIP / 2);
    parallel_for(weight_grad_part, &task, task.strips, parts_for(work_of(&task)));
    return DONE;
}

/* bias (O), gradient of the output (N, O, H, W) -> gradient of the bias. */
int conv1x1_bias_grad(ARGUMENTS) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    if (ranks[0] != 1 || ranks[1] != 4 || shapes[1][1] != shapes[0][0] || !same_shape(1, shapes[0], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    Conv task = {.out_grad = params[1], .out = params[2], .samples = shapes[1][0], .out_channels = shapes[1][1],
                 .area = shapes[1][2] * shapes[1][3]};
    parallel_for(bias_grad_part, &task, task.out_channels, parts_for(size(4, shapes[1])));
    return DONE;
}
