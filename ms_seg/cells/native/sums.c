/* What an optimiser makes of gradients before it uses them, each in one pass over memory on all cores. MindSpore takes one
   core: for the second 0.5 of the 20 s of a training step of LSeg with a ViT-L (two cores, AMD Zen 3), and this 0.2. */

#include "operator.h"

enum { PIECE = 1 << 14, RUN = 256 }; /* numbers of a piece, and of those that are summed up in float32 first */

typedef struct {
    const float *x, *y;
    float factor, *out;
    double *squares; /* of the pieces */
    int64_t count;
} Sum;

static inline int64_t pieces_of(const Sum *task) { return (task->count + PIECE - 1) / PIECE; }

static inline int64_t end_of(const Sum *task, int64_t piece) {
    return (piece + 1) * PIECE < task->count ? (piece + 1) * PIECE : task->count;
}

/* -------------------------------------------------------------------------------------------------------- squares */

/* Items are pieces. */
static void squares_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Sum *task = argument;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t last = end_of(task, piece);
        double total = 0;
        for (int64_t first = piece * PIECE; first < last; first += RUN) {
            int64_t run = last - first < RUN ? last - first : RUN;
            const float *restrict x = task->x + first;
            float sum = 0;
            for (int64_t i = 0; i < run; i++)
                sum += x[i] * x[i];
            total += sum;
        }
        task->squares[piece] = total;
    }
}

Shape sum_of_squaresInferShape(int *ranks, int64_t **shapes, void *extra) {
    int64_t one = 1, *shape = &one;
    return shape_of_first((int[]){1}, &shape);
}

/* An array of any shape -> the sum of the squares of all its numbers, (1): of a scalar MindSpore makes no tensor. */
int sum_of_squares(ARGUMENTS) {
    if (!types_are("ff", count, types))
        return WRONG_TYPE;
    if (!same_shape(1, (int64_t[]){1}, ranks[1], shapes[1]))
        return WRONG_SHAPE;
    Sum task = {.x = params[0], .count = size(ranks[0], shapes[0])};
    task.squares = malloc(pieces_of(&task) * sizeof *task.squares + 1);
    if (!task.squares)
        return NO_MEMORY;
    parallel_for(squares_part, &task, pieces_of(&task), parts_for(task.count));
    double total = 0;
    for (int64_t piece = 0; piece < pieces_of(&task); piece++)
        total += task.squares[piece];
    *(float *)params[1] = total;
    free(task.squares);
    return DONE;
}

/* ------------------------------------------------------------------------------------------------------ two arrays */

/* Items are pieces. */
static void sum_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Sum *task = argument;
    float factor = task->factor;
    int64_t last = end_of(task, end - 1);
    const float *restrict x = task->x, *restrict y = task->y;
    float *restrict out = task->out;
    for (int64_t i = begin * PIECE; i < last; i++)
        out[i] = x[i] + factor * y[i];
}

Shape scaled_sumInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x, y of x's shape, factor () or (1) -> x + factor y. */
int scaled_sum(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    if (!same_shape(ranks[0], shapes[0], ranks[1], shapes[1]) || size(ranks[2], shapes[2]) != 1 ||
        !same_shape(ranks[0], shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    Sum task = {.x = params[0], .y = params[1], .factor = *(float *)params[2], .out = params[3],
                .count = size(ranks[0], shapes[0])};
    parallel_for(sum_part, &task, pieces_of(&task), parts_for(task.count));
    return DONE;
}
