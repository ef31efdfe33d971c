/* The points at which a mask is least certain: where its logit is nearest to zero. They are selected without sorting. */

#include "bilinear.h"

typedef struct {
    Points points;
    float *out, *samples; /* samples: of a row, for each worker */
    int64_t kept;
} Task;

/* The bits of |x|, which are in the order of |x|; NaN comes after infinity. */
static inline uint32_t magnitude(float x) {
    union { float value; uint32_t bits; } number = {x};
    return number.bits & 0x7fffffff;
}

/* The kept-th smallest magnitude, found by its highest bits first, 1 <= kept <= count; `less`: how many are smaller. */
static uint32_t select_magnitude(const float *samples, int64_t count, int64_t kept, int64_t *less) {
    static const int SHIFTS[] = {20, 10, 0};
    uint32_t found = 0, known = 0;
    *less = 0;
    for (int pass = 0; pass < 3; pass++) {
        int64_t histogram[2048] = {0}, bin = 0;
        for (int64_t i = 0; i < count; i++) {
            uint32_t bits = magnitude(samples[i]);
            if ((bits & known) == found)
                histogram[bits >> SHIFTS[pass] & (pass ? 1023 : 2047)]++;
        }
        while (*less + histogram[bin] < kept)
            *less += histogram[bin++];
        found |= (uint32_t)bin << SHIFTS[pass];
        known |= (pass ? 1023u : 2047u) << SHIFTS[pass];
    }
    return found;
}

static void select_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Task *task = argument;
    const Points *points = &task->points;
    float *samples = task->samples + worker * points->point_count;
    for (int64_t row = begin; row < end; row++) {
        const float *candidate = points->points + row * points->point_count * 2;
        float *out = task->out + row * task->kept * 2;
        if (points->rows[row] < 0 || !task->kept) {
            memset(out, 0, task->kept * 2 * sizeof *out);
            continue;
        }
        sample_rows(points, row, row + 1, samples);
        int64_t less;
        uint32_t limit = select_magnitude(samples, points->point_count, task->kept, &less);
        int64_t equal = task->kept - less; /* how many of those at the limit are taken */
        for (int64_t i = 0; i < points->point_count; i++, candidate += 2) {
            uint32_t bits = magnitude(samples[i]);
            if (bits < limit || (bits == limit && equal-- > 0)) {
                *out++ = candidate[0];
                *out++ = candidate[1];
            }
        }
    }
}

/* maps (maps, h, w) of float32 or uint8, rows (K) int32 below the number of maps, candidates (K, P, 2), any array
   (kept) with kept <= P -> of each row's candidates those where its map is nearest to zero, in their order,
   (K, kept, 2). Where it is NaN comes last. A negative row stands for none: its points are zeros. */
int uncertain_points(ARGUMENTS) {
    if (!types_are("mifff", count, types))
        return WRONG_TYPE;
    Task task = {.out = params[4]};
    Status status = read_points(ranks, shapes, params, types, &task.points);
    if (status)
        return status;
    int64_t rows = task.points.row_count, candidates = task.points.point_count;
    if (shapes[2][0] != rows || ranks[3] != 1 || shapes[3][0] > candidates ||
        !same_shape(3, (int64_t[]){rows, shapes[3][0], 2}, ranks[4], shapes[4]))
        return WRONG_SHAPE;
    task.kept = shapes[3][0];
    task.samples = malloc(workers() * candidates * sizeof *task.samples + 1);
    if (!task.samples)
        return NO_MEMORY;
    parallel_for(select_part, &task, rows, parts_for(8 * rows * candidates));
    free(task.samples);
    return DONE;
}
