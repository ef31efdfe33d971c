/* Four maps of several sizes, each resized bilinearly to that of the first, in one sum. */

#include "operator.h"

enum { LEVELS = 4 };

typedef struct {
    const float *levels[LEVELS], *scale, *bias;
    float *out, *scratch; /* scratch: of a worker, a row of the widest level */
    int64_t heights[LEVELS], widths[LEVELS], channels, widest;
} ResizedSum;

/* The two pixels of `from` that pixel `to` of `size` lies between, and how far it is from the first: half-pixel centres, as
   PyTorch's align_corners=False. */
typedef struct {
    int64_t lower, upper;
    float across;
} Between;

static inline Between between(int64_t to, int64_t size, int64_t from) {
    float position = (float)((to + 0.5) * from / size - 0.5);
    position = position < 0 ? 0 : position;
    int64_t lower = (int64_t)position;
    return (Between){lower, lower + 1 < from ? lower + 1 : lower, position - lower};
}

/* out = a + across (b - a), or that is added to out. */
static inline void interpolate(const float *restrict a, const float *restrict b, float across, int64_t count, int added,
                               float *restrict out) {
    for (int64_t i = 0; i < count; i++)
        out[i] = (1 - across) * a[i] + across * b[i] + (added ? out[i] : 0);
}

/* Items are rows of the output, of all samples. */
static void sum_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const ResizedSum *task = argument;
    int64_t height = task->heights[0], width = task->widths[0], channels = task->channels;
    float *row = task->scratch + worker * task->widest * channels;
    const float *restrict scale = task->scale, *restrict bias = task->bias;
    for (int64_t item = begin; item < end; item++) {
        float *out = task->out + item * width * channels;
        memcpy(out, task->levels[0] + item * width * channels, width * channels * sizeof *out);
        for (int64_t level = 1; level < LEVELS; level++) {
            int64_t row_size = task->widths[level] * channels;
            Between rows = between(item % height, height, task->heights[level]);
            const float *map = task->levels[level] + item / height * task->heights[level] * row_size;
            interpolate(map + rows.lower * row_size, map + rows.upper * row_size, rows.across, row_size, 0, row);
            for (int64_t x = 0; x < width; x++) {
                Between columns = between(x, width, task->widths[level]);
                interpolate(row + columns.lower * channels, row + columns.upper * channels, columns.across, channels, 1,
                            out + x * channels);
            }
        }
        for (int64_t x = 0; x < width; x++, out += channels)
            for (int64_t c = 0; c < channels; c++) {
                float sum = out[c] * scale[c] + bias[c];
                out[c] = sum < 0 ? 0 : sum; /* NaN stays */
            }
    }
}

Shape resized_sum_reluInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* Four maps, each (N, h, w, C), scale (C), bias (C) -> the ReLU of scale times their sum plus bias, at the first's size. */
int resized_sum_relu(ARGUMENTS) {
    if (!types_are("fffffff", count, types))
        return WRONG_TYPE;
    ResizedSum task = {.scale = params[LEVELS], .bias = params[LEVELS + 1], .out = params[LEVELS + 2]};
    for (int level = 0; level < LEVELS; level++) {
        const int64_t *shape = shapes[level];
        if (ranks[level] != 4 || shape[0] != shapes[0][0] || shape[1] < 1 || shape[2] < 1 || shape[3] != shapes[0][3])
            return WRONG_SHAPE;
        task.levels[level] = params[level], task.heights[level] = shape[1], task.widths[level] = shape[2];
        task.widest = shape[2] > task.widest ? shape[2] : task.widest;
    }
    task.channels = shapes[0][3];
    for (int vector = LEVELS; vector < LEVELS + 2; vector++)
        if (!same_shape(1, &task.channels, ranks[vector], shapes[vector]))
            return WRONG_SHAPE;
    if (!same_shape(4, shapes[0], ranks[LEVELS + 2], shapes[LEVELS + 2]))
        return WRONG_SHAPE;
    task.scratch = malloc(workers() * task.widest * task.channels * sizeof *task.scratch + 1);
    if (!task.scratch)
        return NO_MEMORY;
    parallel_for(sum_part, &task, shapes[0][0] * shapes[0][1], parts_for(LEVELS * size(4, shapes[0])));
    free(task.scratch);
    return DONE;
}
