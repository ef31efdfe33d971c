/* The 3x3 convolution of each channel by itself, its bias and GELU, on tokens: no map is made of them and back. */

#include "gelu.h"

enum { LANES = 16 }; /* channels at a time */

typedef float Channels __attribute__((vector_size(LANES * sizeof(float))));

typedef struct {
    const float *x, *taps, *bias; /* taps: (9, C) */
    float *out;
    int64_t height, width, channels;
} DepthwiseConv;

/* A row of tokens at some channels; `step` numbers from a token to the next. A row beyond the edge has 0 and one of zeros. */
typedef struct {
    const float *tokens;
    int64_t step;
} Row;

static inline Channels load(const float *from, int64_t count) { /* zeros beyond `count` */
    Channels channels = {0};
    memcpy(&channels, from, count * sizeof *from);
    return channels;
}

static inline Row row_at(const DepthwiseConv *task, const float *sample, int64_t y, int64_t first) {
    static const float zeros[LANES];
    if (y < 0 || y >= task->height)
        return (Row){zeros, 0};
    return (Row){sample + y * task->width * task->channels + first, task->channels};
}

/* `count` channels of row y from `first` on: three columns stay in registers while a row is passed. */
static inline __attribute__((always_inline)) void convolve(const DepthwiseConv *task, const float *sample, int64_t y,
                                                           int64_t first, int64_t count, float *out) {
    Channels taps[9], columns[3][3] = {{{0}}}, bias = load(task->bias + first, count); /* columns: left, middle, right */
    Row rows[3];
    for (int tap = 0; tap < 9; tap++)
        taps[tap] = load(task->taps + tap * task->channels + first, count);
    for (int row = 0; row < 3; row++) {
        rows[row] = row_at(task, sample, y + row - 1, first);
        columns[2][row] = load(rows[row].tokens, count);
    }
    for (int64_t x = 0; x < task->width; x++) {
        Channels sum = bias;
        for (int row = 0; row < 3; row++) {
            columns[0][row] = columns[1][row], columns[1][row] = columns[2][row], columns[2][row] = (Channels){0};
            if (x + 1 < task->width)
                columns[2][row] = load(rows[row].tokens + (x + 1) * rows[row].step, count);
            for (int column = 0; column < 3; column++)
                sum += taps[3 * row + column] * columns[column][row];
        }
        float sums[LANES];
        memcpy(sums, &sum, sizeof sum);
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] = gelu_of(sums[lane]);
        memcpy(out + x * task->channels, sums, count * sizeof *out);
    }
}

/* Items are rows of tokens, of all samples. */
static void conv_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const DepthwiseConv *task = argument;
    int64_t row_size = task->width * task->channels;
    for (int64_t item = begin; item < end; item++) {
        int64_t y = item % task->height, first = 0;
        const float *sample = task->x + (item - y) * row_size;
        float *out = task->out + item * row_size;
        for (; first + LANES <= task->channels; first += LANES)
            convolve(task, sample, y, first, LANES, out + first);
        if (first < task->channels)
            convolve(task, sample, y, first, task->channels - first, out + first);
    }
}

Shape depthwise_conv_geluInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (N, H, W, C), weight (C, 1, 3, 3), bias (C) -> (N, H, W, C). */
int depthwise_conv_gelu(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    if (ranks[0] != 4 || shapes[0][1] < 1 || shapes[0][2] < 1 || shapes[0][3] < 1)
        return WRONG_SHAPE;
    int64_t channels = shapes[0][3];
    if (!same_shape(4, (int64_t[]){channels, 1, 3, 3}, ranks[1], shapes[1]) ||
        !same_shape(1, &channels, ranks[2], shapes[2]) || !same_shape(4, shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    float *taps = malloc(9 * channels * sizeof *taps), *weight = params[1];
    if (!taps)
        return NO_MEMORY;
    for (int64_t c = 0; c < channels; c++)
        for (int tap = 0; tap < 9; tap++)
            taps[tap * channels + c] = weight[9 * c + tap];
    DepthwiseConv task = {.x = params[0], .taps = taps, .bias = params[2], .out = params[3], .height = shapes[0][1],
                          .width = shapes[0][2], .channels = channels};
    parallel_for(conv_part, &task, shapes[0][0] * task.height, parts_for(size(4, shapes[0])));
    free(taps);
    return DONE;
}
