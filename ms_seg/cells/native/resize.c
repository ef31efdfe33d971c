/* Maps resized bilinearly, and the gradient: a row is resized along its columns once, for all rows that it is part of. */

#include "resized.h"

typedef struct { /* small: the size that is resized from; large: the other, which may be smaller */
    const float *in;
    float *out;
    int64_t height, width, out_height, out_width;
    Between *rows, *columns; /* of each row and column of the large one */
    float *scratch;          /* of a worker, two rows of the large one */
} Resize;

/* A row of the small map, as wide as the large one. */
static void widen(const Resize *task, const float *restrict row, float *restrict out) {
    for (int64_t x = 0; x < task->out_width; x++) {
        Between columns = task->columns[x];
        out[x] = mix(row[columns.lower], row[columns.upper], columns.across);
    }
}

/* Items are maps. */
static void resize_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Resize *task = argument;
    int64_t width = task->out_width;
    for (int64_t item = begin; item < end; item++) {
        const float *map = task->in + item * task->height * task->width;
        float *scratch = task->scratch + worker * 2 * width, *wide[] = {scratch, scratch + width};
        int64_t held[] = {-1, -1}; /* which row of the map is there, an even and an odd one */
        for (int64_t y = 0; y < task->out_height; y++) {
            Between rows = task->rows[y];
            int64_t needed[] = {rows.lower, rows.upper};
            for (int side = 0; side < 2; side++)
                if (held[needed[side] & 1] != needed[side]) {
                    widen(task, map + needed[side] * task->width, wide[needed[side] & 1]);
                    held[needed[side] & 1] = needed[side];
                }
            const float *restrict lower = wide[rows.lower & 1], *restrict upper = wide[rows.upper & 1];
            float *restrict out = task->out + (item * task->out_height + y) * width;
            for (int64_t x = 0; x < width; x++)
                out[x] = mix(lower[x], upper[x], rows.across);
        }
    }
}

/* What a wide row adds to a row of the small map; the wide row is zeros then. */
static void narrow(const Resize *task, float *restrict wide, float *restrict row) {
    for (int64_t x = 0; x < task->out_width; x++) {
        Between columns = task->columns[x];
        row[columns.lower] += (1 - columns.across) * wide[x];
        row[columns.upper] += columns.across * wide[x];
        wide[x] = 0;
    }
}

/* Items are maps: `in` are the gradients of the large ones, `out` those of the small ones. */
static void resize_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Resize *task = argument;
    int64_t width = task->out_width;
    for (int64_t item = begin; item < end; item++) {
        float *map = task->out + item * task->height * task->width;
        float *scratch = task->scratch + worker * 2 * width, *wide[] = {scratch, scratch + width};
        int64_t held[] = {-1, -1};
        memset(map, 0, task->height * task->width * sizeof *map);
        memset(scratch, 0, 2 * width * sizeof *scratch);
        for (int64_t y = 0; y < task->out_height; y++) {
            Between rows = task->rows[y];
            int64_t needed[] = {rows.lower, rows.upper};
            const float *restrict grad = task->in + (item * task->out_height + y) * width;
            for (int side = 0; side < 2; side++) {
                int64_t row = needed[side], *there = &held[row & 1];
                float *restrict sums = wide[row & 1], share = side ? rows.across : 1 - rows.across;
                if (*there >= 0 && *there != row)
                    narrow(task, sums, map + *there * task->width);
                *there = row;
                for (int64_t x = 0; x < width; x++)
                    sums[x] += share * grad[x];
            }
        }
        for (int place = 0; place < 2; place++)
            if (held[place] >= 0)
                narrow(task, wide[place], map + held[place] * task->width);
    }
}

/* `small` and `large`: which arrays have the two shapes; the second array has the large size. */
static Status compute(Work work, void **params, int *ranks, int64_t **shapes, int in, int out, int small, int large,
                      int corners) {
    if (ranks[small] != 4 || ranks[1] != 2)
        return WRONG_SHAPE;
    const int64_t *from = shapes[small], *to = shapes[1];
    if (from[2] < 1 || from[3] < 1 || to[0] < 1 || to[1] < 1 ||
        !same_shape(4, (int64_t[]){from[0], from[1], to[0], to[1]}, ranks[large], shapes[large]))
        return WRONG_SHAPE;
    Resize task = {.in = params[in], .out = params[out], .height = from[2], .width = from[3], .out_height = to[0],
                   .out_width = to[1]};
    task.rows = malloc((to[0] + to[1]) * sizeof *task.rows);
    task.scratch = malloc(workers() * 2 * to[1] * sizeof *task.scratch);
    Status status = task.rows && task.scratch ? DONE : NO_MEMORY;
    if (status == DONE) {
        task.columns = task.rows + to[0];
        for (int64_t y = 0; y < to[0]; y++)
            task.rows[y] = between(y, to[0], from[2], corners);
        for (int64_t x = 0; x < to[1]; x++)
            task.columns[x] = between(x, to[1], from[3], corners);
        parallel_for(work, &task, from[0] * from[1], parts_for(size(4, shapes[small]) + size(4, shapes[large])));
    }
    free(task.rows);
    free(task.scratch);
    return status;
}

static Status forward(ARGUMENTS, int corners) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    return compute(resize_part, params, ranks, shapes, 0, 2, 0, 2, corners);
}

static Status backward(ARGUMENTS, int corners) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    if (!same_shape(ranks[0], shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    return compute(resize_grad_part, params, ranks, shapes, 2, 3, 3, 2, corners);
}

static Shape resized_shape(int *ranks, int64_t **shapes) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 4 && ranks[1] == 2)
        shape.begin[2] = shapes[1][0], shape.begin[3] = shapes[1][1];
    return shape;
}

Shape resizeInferShape(int *ranks, int64_t **shapes, void *extra) { return resized_shape(ranks, shapes); }
Shape resize_cornersInferShape(int *ranks, int64_t **shapes, void *extra) { return resized_shape(ranks, shapes); }

/* x (N, C, h, w), an array (H, W), of which only the shape is read -> (N, C, H, W). */
int resize(ARGUMENTS) { return forward(count, params, ranks, shapes, types, stream, extra, 0); }

/* The same, corners being aligned. */
int resize_corners(ARGUMENTS) { return forward(count, params, ranks, shapes, types, stream, extra, 1); }

/* x, the array (H, W), gradient of the output -> gradient of x. */
int resize_grad(ARGUMENTS) { return backward(count, params, ranks, shapes, types, stream, extra, 0); }
int resize_corners_grad(ARGUMENTS) { return backward(count, params, ranks, shapes, types, stream, extra, 1); }
