/* Four maps of several sizes, each resized bilinearly to that of the first, in one sum. */

#include "resized.h"

enum { LEVELS = 4 };

typedef struct {
    const float *levels[LEVELS], *scale, *bias;
    float *out, *scratch; /* scratch: of a worker, a row of each level but the first, as long as that of the widest */
    int64_t heights[LEVELS], widths[LEVELS], channels, widest;
} ResizedSum;

/* A level's row for row y of the output, as wide as the level is. */
static void mix_rows(const ResizedSum *task, int level, int64_t sample, int64_t y, float *restrict out) {
    int64_t row_size = task->widths[level] * task->channels;
    Between rows = between(y, task->heights[0], task->heights[level], 0);
    const float *map = task->levels[level] + sample * task->heights[level] * row_size;
    const float *restrict lower = map + rows.lower * row_size, *restrict upper = map + rows.upper * row_size;
    for (int64_t i = 0; i < row_size; i++)
        out[i] = mix(lower[i], upper[i], rows.across);
}

/* Items are rows of the output, of all samples. */
static void sum_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const ResizedSum *task = argument;
    int64_t height = task->heights[0], width = task->widths[0], channels = task->channels;
    int64_t row_size = task->widest * channels;
    float *scratch = task->scratch + worker * (LEVELS - 1) * row_size;
    const float *restrict scale = task->scale, *restrict bias = task->bias;
    for (int64_t item = begin; item < end; item++) {
        for (int level = 1; level < LEVELS; level++)
            mix_rows(task, level, item / height, item % height, scratch + (level - 1) * row_size);
        for (int64_t x = 0; x < width; x++) {
            const float *restrict first = task->levels[0] + (item * width + x) * channels;
            const float *left[LEVELS], *right[LEVELS];
            float *restrict out = task->out + (item * width + x) * channels, across[LEVELS];
            for (int level = 1; level < LEVELS; level++) {
                Between columns = between(x, width, task->widths[level], 0);
                left[level] = scratch + (level - 1) * row_size + columns.lower * channels;
                right[level] = scratch + (level - 1) * row_size + columns.upper * channels;
                across[level] = columns.across;
            }
            for (int64_t c = 0; c < channels; c++) {
                float sum = first[c] + mix(left[1][c], right[1][c], across[1]) +
                            mix(left[2][c], right[2][c], across[2]) + mix(left[3][c], right[3][c], across[3]);
                sum = sum * scale[c] + bias[c];
                out[c] = sum < 0 ? 0 : sum; /* NaN stays */
            }
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
    task.scratch = malloc(workers() * (LEVELS - 1) * task.widest * task.channels * sizeof *task.scratch + 1);
    if (!task.scratch)
        return NO_MEMORY;
    parallel_for(sum_part, &task, shapes[0][0] * shapes[0][1], parts_for(LEVELS * size(4, shapes[0])));
    free(task.scratch);
    return DONE;
}
