/* Two axes change places: maps become tokens, heads come before tokens, and back. */

#include "operator.h"

enum { LINE = 16, TILE = 64 }; /* of a tile: numbers of a cache line that is read, and of a row that is written */

typedef struct {
    const float *x;
    float *out;
    int64_t a, b, depth;
} SwapAxes;

/* Rows of x, `lines` of `size` numbers, become columns of out. */
static inline void swap_tile(const float *x, int64_t stride, int64_t lines, int64_t size, float *out,
                             int64_t out_stride) {
    float tile[LINE][TILE];
    for (int64_t i = 0; i < lines; i++)
        for (int64_t j = 0; j < size; j++)
            tile[j][i] = x[i * stride + j];
    for (int64_t j = 0; j < size; j++)
        memcpy(out + j * out_stride, tile[j], lines * sizeof *out);
}

/* Items are tiles' heights of the first axis, of all samples. */
static void swap_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const SwapAxes *task = argument;
    int64_t a = task->a, b = task->b, tiles = (a + TILE - 1) / TILE;
    for (int64_t item = begin; item < end; item++) {
        int64_t first = item % tiles * TILE, lines = a - first < TILE ? a - first : TILE;
        const float *x = task->x + item / tiles * a * b + first * b;
        float *out = task->out + item / tiles * a * b + first;
        int64_t j = 0;
        for (; j + LINE <= b && lines == TILE; j += LINE)
            swap_tile(x + j, b, TILE, LINE, out + j * a, a);
        for (; j < b; j += LINE)
            swap_tile(x + j, b, lines, b - j < LINE ? b - j : LINE, out + j * a, a);
    }
}

/* Items are the first axis, of all samples. */
static void swap_rows_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const SwapAxes *task = argument;
    int64_t a = task->a, b = task->b, depth = task->depth;
    for (int64_t item = begin; item < end; item++) {
        const float *x = task->x + item * b * depth;
        float *out = task->out + (item / a * b * a + item % a) * depth;
        for (int64_t j = 0; j < b; j++)
            memcpy(out + j * a * depth, x + j * depth, depth * sizeof *x);
    }
}

Shape swap_axesInferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] > 2) {
        shape.begin[1] = shapes[0][2];
        shape.begin[2] = shapes[0][1];
    }
    return shape;
}

/* x (N, A, B, D) -> (N, B, A, D). */
int swap_axes(ARGUMENTS) {
    if (!types_are("ff", count, types))
        return WRONG_TYPE;
    const int64_t *shape = shapes[0];
    if (ranks[0] != 4 || !same_shape(4, (int64_t[]){shape[0], shape[2], shape[1], shape[3]}, ranks[1], shapes[1]))
        return WRONG_SHAPE;
    SwapAxes task = {.x = params[0], .out = params[1], .a = shape[1], .b = shape[2], .depth = shape[3]};
    int64_t parts = parts_for(size(4, shape));
    if (task.depth == 1)
        parallel_for(swap_part, &task, shape[0] * ((task.a + TILE - 1) / TILE), parts);
    else
        parallel_for(swap_rows_part, &task, shape[0] * task.a, parts);
    return DONE;
}
