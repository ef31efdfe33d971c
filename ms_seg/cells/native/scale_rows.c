/* Rows of numbers, each times a factor of its own: samples or channels that are dropped, or kept and scaled up. */

#include "operator.h"

typedef struct {
    const float *x, *factors;
    float *out;
    int64_t row; /* its numbers */
} ScaleRows;

static void scale_rows_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const ScaleRows *task = argument;
    for (int64_t i = begin; i < end;) { /* numbers of all rows, for there may be few rows */
        int64_t next = (i / task->row + 1) * task->row;
        float factor = task->factors[i / task->row];
        for (next = next < end ? next : end; i < next; i++)
            task->out[i] = task->x[i] * factor;
    }
}

Shape scale_rowsInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (rows, ...), factors (rows) -> x, row by row times its factor. */
int scale_rows(ARGUMENTS) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    if (ranks[0] < 1 || ranks[1] != 1 || shapes[0][0] != shapes[1][0] ||
        !same_shape(ranks[0], shapes[0], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    int64_t numbers = size(ranks[0], shapes[0]);
    if (!numbers)
        return DONE;
    ScaleRows task = {params[0], params[1], params[2], numbers / shapes[0][0]};
    parallel_for(scale_rows_part, &task, numbers, parts_for(numbers));
    return DONE;
}
