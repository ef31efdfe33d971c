/* Linear layers between maps and tokens: a product reads or writes a matrix that is turned as fast as one that is not. */

#include "product.h"

enum { STRIP = 1024 }; /* positions of a piece, at most */

typedef struct {
    const float *x, *weight, *bias;
    float *out;
    Sgemm sgemm;
    int64_t samples, area, in, channels;
    int64_t strip, strips; /* positions of a piece, and pieces of a sample */
} MapLinear;

/* Of a piece: where it begins in x and out, without the channels, and how many positions it has. */
static inline int64_t piece_at(const MapLinear *task, int64_t item, int64_t *sample, int64_t *first) {
    *sample = item / task->strips, *first = item % task->strips * task->strip;
    return task->area - *first < task->strip ? task->area - *first : task->strip;
}

static void of_map_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const MapLinear *task = argument;
    for (int64_t item = begin; item < end; item++) {
        int64_t sample, first, count = piece_at(task, item, &sample, &first);
        float *out = task->out + (sample * task->area + first) * task->channels;
        for (int64_t i = 0; i < count; i++)
            memcpy(out + i * task->channels, task->bias, task->channels * sizeof *out);
        product(task->sgemm, count, task->channels, task->in,
                (Matrix){task->x + sample * task->in * task->area + first, task->area, 1},
                (Matrix){task->weight, task->in, 1}, 1, out, task->channels);
    }
}

static void to_map_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const MapLinear *task = argument;
    for (int64_t item = begin; item < end; item++) {
        int64_t sample, first, count = piece_at(task, item, &sample, &first);
        float *out = task->out + sample * task->channels * task->area + first;
        for (int64_t c = 0; c < task->channels; c++)
            for (int64_t i = 0; i < count; i++)
                out[c * task->area + i] = task->bias[c];
        product(task->sgemm, task->channels, count, task->in, (Matrix){task->weight, task->in, 0},
                (Matrix){task->x + (sample * task->area + first) * task->in, task->in, 1}, 1, out, task->area);
    }
}

/* x: (N, C, H, W) if `channels` is 1, (N, H, W, C) if it is 3; the output the other way round. */
static Status compute(ARGUMENTS, int channels, Work part) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    int64_t in = columns_of(ranks[1], shapes[1]);
    if (ranks[0] != 4 || in < 1 || shapes[1][0] < 1 || shapes[0][channels] != in ||
        !same_shape(1, shapes[1], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    int side = channels == 1 ? 2 : 1;
    int64_t n = shapes[0][0], height = shapes[0][side], width = shapes[0][side + 1], made = shapes[1][0];
    int64_t tokens[] = {n, height, width, made}, map[] = {n, made, height, width};
    if (!same_shape(4, channels == 1 ? tokens : map, ranks[3], shapes[3]))
        return WRONG_SHAPE;
    MapLinear task = {.x = params[0], .weight = params[1], .bias = params[2], .out = params[3], .sgemm = find_sgemm(),
                      .samples = n, .area = height * width, .in = in, .channels = made};
    int64_t pieces = 2 * ((task.area + 2 * STRIP - 1) / (2 * STRIP)); /* an even number */
    task.strip = task.area ? (task.area + pieces - 1) / pieces : 1;
    task.strips = (task.area + task.strip - 1) / task.strip;
    int64_t work = n * made * task.area * (task.in / 64 + 1); /* as elements of other operators take time */
    parallel_for(part, &task, n * task.strips, parts_for(work));
    return DONE;
}

static Shape shape_of(int *ranks, int64_t **shapes, const int *axes) { /* axes: of x, the channels' being replaced */
    Shape shape = shape_of_first(ranks, shapes);
    for (int axis = 1; shape.begin && ranks[0] == 4 && ranks[1] > 1 && axis < 4; axis++)
        shape.begin[axis] = axes[axis] < 0 ? shapes[1][0] : shapes[0][axes[axis]];
    return shape;
}

Shape linear_of_mapInferShape(int *ranks, int64_t **shapes, void *extra) {
    return shape_of(ranks, shapes, (int[]){0, 2, 3, -1});
}

Shape linear_to_mapInferShape(int *ranks, int64_t **shapes, void *extra) {
    return shape_of(ranks, shapes, (int[]){0, -1, 1, 2});
}

/* x (N, C, H, W), weight (O, C) or (O, C, 1, 1), bias (O) -> tokens (N, H, W, O). */
int linear_of_map(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, 1, of_map_part); }

/* Tokens x (N, H, W, C), weight (O, C) or (O, C, 1, 1), bias (O) -> (N, O, H, W). */
int linear_to_map(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, 3, to_map_part); }
