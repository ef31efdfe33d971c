/* The cross-entropy of each pixel: the negative logarithm of its class's softmax. */

#include "operator.h"

enum { PIXELS = 256 }; /* that are done at once: their sums stay in the first cache */

typedef struct {
    const float *logits, *out_grad;
    const int32_t *targets;
    float *out;
    int64_t classes, area, blocks; /* pixels of a picture, and in how many blocks they are done */
} CrossEntropy;

typedef struct {
    const float *logits;    /* of the block's first pixel; those of the next class come `area` later */
    int64_t picture, first; /* that pixel */
    int64_t pixels;
} Block;

static Block block_of(const CrossEntropy *task, int64_t item) {
    int64_t picture = item / task->blocks, first = item % task->blocks * PIXELS, left = task->area - first;
    const float *logits = task->logits + picture * task->classes * task->area + first;
    return (Block){logits, picture, first, left < PIXELS ? left : PIXELS};
}

static void largest_of(const CrossEntropy *task, const Block *block, float *restrict largest) {
    for (int64_t i = 0; i < block->pixels; i++)
        largest[i] = block->logits[i];
    for (int64_t c = 1; c < task->classes; c++) {
        const float *restrict logits = block->logits + c * task->area;
        for (int64_t i = 0; i < block->pixels; i++)
            largest[i] = logits[i] > largest[i] ? logits[i] : largest[i];
    }
}

static void cross_entropy_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const CrossEntropy *task = argument;
    for (int64_t item = begin; item < end; item++) {
        Block block = block_of(task, item);
        float largest[PIXELS], sum[PIXELS] = {0};
        largest_of(task, &block, largest);
        for (int64_t c = 0; c < task->classes; c++) {
            const float *restrict logits = block.logits + c * task->area;
            for (int64_t i = 0; i < block.pixels; i++)
                sum[i] += exponential(logits[i] - largest[i]);
        }
        int64_t pixel = block.picture * task->area + block.first;
        for (int64_t i = 0; i < block.pixels; i++)
            task->out[pixel + i] =
                logf(sum[i]) + largest[i] - block.logits[task->targets[pixel + i] * task->area + i];
    }
}

static void cross_entropy_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const CrossEntropy *task = argument;
    for (int64_t item = begin; item < end; item++) {
        Block block = block_of(task, item);
        float largest[PIXELS], sum[PIXELS] = {0}, *first = task->out + (block.logits - task->logits);
        largest_of(task, &block, largest);
        for (int64_t c = 0; c < task->classes; c++) {
            const float *restrict logits = block.logits + c * task->area;
            float *restrict out = first + c * task->area;
            for (int64_t i = 0; i < block.pixels; i++)
                sum[i] += out[i] = exponential(logits[i] - largest[i]);
        }
        int64_t pixel = block.picture * task->area + block.first;
        for (int64_t i = 0; i < block.pixels; i++)
            sum[i] = task->out_grad[pixel + i] / sum[i];
        for (int64_t c = 0; c < task->classes; c++) {
            float *restrict out = first + c * task->area;
            for (int64_t i = 0; i < block.pixels; i++)
                out[i] *= sum[i];
        }
        for (int64_t i = 0; i < block.pixels; i++)
            first[task->targets[pixel + i] * task->area + i] -= task->out_grad[pixel + i];
    }
}

/* Of logits, targets, and what else has a number for each pixel. */
static Status check(int *ranks, int64_t **shapes, void **params) {
    if (ranks[0] != 4)
        return WRONG_SHAPE;
    int64_t pixels[] = {shapes[0][0], 1, shapes[0][2], shapes[0][3]};
    for (int array = 1; array <= 2; array++)
        if (!same_shape(4, pixels, ranks[array], shapes[array]))
            return WRONG_SHAPE;
    const int32_t *targets = params[1];
    for (int64_t i = 0; i < size(4, pixels); i++)
        if (targets[i] < 0 || targets[i] >= shapes[0][1])
            return WRONG_INDEX;
    return DONE;
}

static void run(Work work, CrossEntropy *task, const int64_t *shape) {
    task->classes = shape[1];
    task->area = shape[2] * shape[3];
    task->blocks = (task->area + PIXELS - 1) / PIXELS;
    parallel_for(work, task, shape[0] * task->blocks, parts_for(size(4, shape)));
}

Shape cross_entropyInferShape(int *ranks, int64_t **shapes, void *extra) {
    return shape_of_first((int[]){ranks[1]}, shapes + 1);
}

/* logits (N, C, H, W), targets (N, 1, H, W) int32 from 0 to C - 1 -> cross-entropies (N, 1, H, W). */
int cross_entropy(ARGUMENTS) {
    if (!types_are("fif", count, types))
        return WRONG_TYPE;
    Status status = check(ranks, shapes, params);
    CrossEntropy task = {.logits = params[0], .targets = params[1], .out = params[2]};
    if (status == DONE)
        run(cross_entropy_part, &task, shapes[0]);
    return status;
}

Shape cross_entropy_gradInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* logits, targets, gradient of the output -> gradient of the logits. */
int cross_entropy_grad(ARGUMENTS) {
    if (!types_are("fiff", count, types))
        return WRONG_TYPE;
    if (!same_shape(ranks[0], shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    Status status = check(ranks, shapes, params);
    CrossEntropy task = {.logits = params[0], .targets = params[1], .out_grad = params[2], .out = params[3]};
    if (status == DONE)
        run(cross_entropy_grad_part, &task, shapes[0]);
    return status;
}
