/* The sum of squares over the channels of each position of a map, and its gradient: one pass over the map. */

#include "operator.h"

enum { STRIP = 1024, CHANNELS = 64 }; /* positions of a piece; channels whose squares are summed up before all others' */

typedef struct {
    const float *x, *out_grad;
    float *out;
    int64_t channels, area, strips; /* strips: pieces of a sample */
} Squares;

/* Items are pieces of all samples. */
static void squares_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Squares *task = argument;
    for (int64_t item = begin; item < end; item++) {
        int64_t sample = item / task->strips, first = item % task->strips * STRIP;
        int64_t count = task->area - first < STRIP ? task->area - first : STRIP;
        const float *x = task->x + sample * task->channels * task->area + first;
        float *restrict out = task->out + sample * task->area + first;
        memset(out, 0, count * sizeof *out);
        for (int64_t block = 0; block < task->channels; block += CHANNELS) {
            float sums[STRIP] = {0};
            for (int64_t channel = block; channel < block + CHANNELS && channel < task->channels; channel++) {
                const float *restrict line = x + channel * task->area;
                for (int64_t i = 0; i < count; i++)
                    sums[i] += line[i] * line[i];
            }
            for (int64_t i = 0; i < count; i++)
                out[i] += sums[i];
        }
    }
}

/* Items are channels of all samples. */
static void squares_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Squares *task = argument;
    for (int64_t item = begin; item < end; item++) {
        const float *restrict x = task->x + item * task->area;
        const float *restrict out_grad = task->out_grad + item / task->channels * task->area;
        float *restrict out = task->out + item * task->area;
        for (int64_t i = 0; i < task->area; i++)
            out[i] = 2 * x[i] * out_grad[i];
    }
}

Shape squared_normInferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 4)
        shape.begin[1] = 1;
    return shape;
}

/* x (N, C, H, W) -> (N, 1, H, W). */
int squared_norm(ARGUMENTS) {
    if (!types_are("ff", count, types))
        return WRONG_TYPE;
    const int64_t *x = shapes[0];
    if (ranks[0] != 4 || !same_shape(4, (int64_t[]){x[0], 1, x[2], x[3]}, ranks[1], shapes[1]))
        return WRONG_SHAPE;
    Squares task = {.x = params[0], .out = params[1], .channels = x[1], .area = x[2] * x[3]};
    task.strips = (task.area + STRIP - 1) / STRIP;
    parallel_for(squares_part, &task, x[0] * task.strips, parts_for(size(4, x)));
    return DONE;
}

/* x, gradient of the output -> gradient of x. */
int squared_norm_grad(ARGUMENTS) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    const int64_t *x = shapes[0];
    if (ranks[0] != 4 || !same_shape(4, (int64_t[]){x[0], 1, x[2], x[3]}, ranks[1], shapes[1]) ||
        !same_shape(4, x, ranks[2], shapes[2]))
        return WRONG_SHAPE;
    Squares task = {.x = params[0], .out_grad = params[1], .out = params[2], .channels = x[1], .area = x[2] * x[3]};
    parallel_for(squares_grad_part, &task, x[0] * x[1], parts_for(size(4, x)));
    return DONE;
}
