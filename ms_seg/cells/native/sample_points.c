/* Maps at points, and the gradients of the maps. */

#include "bilinear.h"

typedef struct {
    Points points;
    const float *out_grad;
    float *out;
} Task;

static void sample_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Task *task = argument;
    int64_t sharing = task->points.sharing;
    while (begin < end) {
        int64_t others = (begin / sharing + 1) * sharing, stop = others < end ? others : end;
        sample_rows(&task->points, begin, stop, task->out + begin * task->points.point_count);
        begin = stop;
    }
}

/* Items are maps: a map's gradient is that of all rows which mean it. */
static void scatter_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Task *task = argument;
    const Points *points = &task->points;
    int64_t area = points->height * points->width;
    memset(task->out + begin * area, 0, (end - begin) * area * sizeof *task->out);
    for (int64_t row = 0; row < points->row_count; row++) {
        if (points->rows[row] < begin || points->rows[row] >= end)
            continue;
        float *map = task->out + points->rows[row] * area;
        const float *point = points->points + row / points->sharing * points->point_count * 2;
        const float *out_grad = task->out_grad + row * points->point_count;
        for (int64_t i = 0; i < points->point_count; i++) {
            Corners corners = point_corners(point + 2 * i, points);
            float weights[4];
            corner_weights(&corners, weights);
            for (int corner = 0; corner < 4; corner++)
                map[corners.pixels[corner]] += weights[corner] * out_grad[i];
        }
    }
}

/* maps (maps, h, w) of float32 or uint8, rows (K) int32 below the number of maps, points (G, P, 2), of which each is
   for K / G rows -> (K, P). A negative row stands for none: its samples are zeros. */
int sample_points(ARGUMENTS) {
    if (!types_are("miff", count, types))
        return WRONG_TYPE;
    Task task = {.out = params[3]};
    Status status = read_points(ranks, shapes, params, types, &task.points);
    if (status)
        return status;
    if (!same_shape(2, (int64_t[]){task.points.row_count, task.points.point_count}, ranks[3], shapes[3]))
        return WRONG_SHAPE;
    parallel_for(sample_part, &task, task.points.row_count,
                 parts_for(8 * task.points.row_count * task.points.point_count));
    return DONE;
}

/* maps, rows, points, gradient of the output (K, P) -> gradient of maps. */
int sample_points_grad(ARGUMENTS) {
    if (!types_are("mifff", count, types))
        return WRONG_TYPE;
    Task task = {.out_grad = params[3], .out = params[4]};
    Status status = read_points(ranks, shapes, params, types, &task.points);
    if (status)
        return status;
    if (!same_shape(2, (int64_t[]){task.points.row_count, task.points.point_count}, ranks[3], shapes[3]) ||
        !same_shape(ranks[0], shapes[0], ranks[4], shapes[4]))
        return WRONG_SHAPE;
    parallel_for(scatter_part, &task, shapes[0][0], parts_for(size(3, shapes[0])));
    return DONE;
}
