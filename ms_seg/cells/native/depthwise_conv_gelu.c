/* The 3x3 convolution of each channel by itself, its bias and GELU, on tokens: no map is made of them and back. */

#include "gelu.h"

enum { CHANNELS = 128 }; /* at a time: their taps stay in the first cache */

typedef struct {
    const float *x, *taps, *bias; /* taps: (9, C) */
    float *out;
    int64_t height, width, channels;
} DepthwiseConv;

static inline float add_product(float sum, float a, float b) {
#ifdef __FP_FAST_FMAF
    return fmaf(a, b, sum); /* one instruction, which the compiler does not choose by itself in ISO C */
#else
    return sum + a * b;
#endif
}

/* `count` channels of a token: its nine neighbours, of which those beyond the edge are zeros, nine rows of taps. */
static inline void convolve(const float *const *x, const float *restrict taps, int64_t stride,
                            const float *restrict bias, int64_t count, float *restrict out) {
    for (int64_t c = 0; c < count; c++) {
        float upper = add_product(bias[c], taps[c], x[0][c]);
        upper = add_product(upper, taps[stride + c], x[1][c]);
        upper = add_product(upper, taps[2 * stride + c], x[2][c]);
        float middle = taps[3 * stride + c] * x[3][c];
        middle = add_product(middle, taps[4 * stride + c], x[4][c]);
        middle = add_product(middle, taps[5 * stride + c], x[5][c]);
        float lower = taps[6 * stride + c] * x[6][c];
        lower = add_product(lower, taps[7 * stride + c], x[7][c]);
        lower = add_product(lower, taps[8 * stride + c], x[8][c]);
        out[c] = gelu_of(upper + middle + lower);
    }
}

/* Items are rows of tokens, of all samples. */
static void conv_part(const void *argument, int64_t begin, int64_t end, int worker) {
    static const float zeros[CHANNELS];
    const DepthwiseConv *task = argument;
    int64_t channels = task->channels, width = task->width;
    for (int64_t item = begin; item < end; item++)
        for (int64_t first = 0; first < channels; first += CHANNELS) {
            int64_t count = channels - first < CHANNELS ? channels - first : CHANNELS;
            for (int64_t x = 0; x < width; x++) {
                const float *around[9];
                for (int tap = 0; tap < 9; tap++) {
                    int64_t down = tap / 3 - 1, across = tap % 3 - 1, y = item % task->height + down;
                    int inside = y >= 0 && y < task->height && x + across >= 0 && x + across < width;
                    int64_t token = (item + down) * width + x + across;
                    around[tap] = inside ? task->x + token * channels + first : zeros;
                }
                convolve(around, task->taps + first, channels, task->bias + first, count,
                         task->out + (item * width + x) * channels + first);
            }
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
