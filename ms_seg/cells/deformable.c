/* The sampling of multi-scale deformable attention (arXiv:2010.04159, equation 3): a query sums weighted samples of
   several maps, bilinear between their pixels, zeros beyond their edges. */

#include "bilinear.h"

typedef struct {
    const float *value, *offsets, *weights, *places, *sizes, *gradient;
    float *out, *of_offsets, *of_weights;
    int64_t batch, positions, queries, heads, levels, points, depth; /* depth: channels of a head */
} Sampling;

/* What one head of one query looks at. */
typedef struct {
    const float *value, *offset, *weight, *place;
    int64_t stride; /* from a pixel to the next */
    int64_t sample; /* number of the first one */
} Look;

static inline Look look_of(const Sampling *task, int64_t query, int64_t head) { /* queries of all of the batch */
    int64_t stride = task->heads * task->depth;
    int64_t sample = (query * task->heads + head) * task->levels * task->points;
    const float *value = task->value + query / task->queries * task->positions * stride + head * task->depth;
    const float *place = task->places + 2 * (query % task->queries);
    return (Look){value, task->offsets + 2 * sample, task->weights + sample, place, stride, sample};
}

/* Inlined, for a depth that the compiler may know. */
static inline __attribute__((always_inline)) void sum_samples(const Sampling *task, int64_t query, int64_t head,
                                                              int64_t depth) {
    Look look = look_of(task, query, head);
    float *restrict out = task->out + query * look.stride + head * depth;
    memset(out, 0, depth * sizeof *out);
    const float *level_value = look.value;
    for (int64_t level = 0; level < task->levels; level++) {
        int64_t height = (int64_t)task->sizes[2 * level], width = (int64_t)task->sizes[2 * level + 1];
        float y = look.place[1] * height - 0.5f, x = look.place[0] * width - 0.5f;
        for (int64_t point = 0; point < task->points; point++, look.offset += 2, look.weight++) {
            Corners corners = corners_of(y + look.offset[1], x + look.offset[0], height, width);
            const float *rows[4];
            float shares[4];
            shares_of(&corners, shares);
            for (int corner = 0; corner < 4; corner++) {
                rows[corner] = level_value + corners.pixels[corner] * look.stride;
                shares[corner] *= *look.weight;
            }
            for (int64_t c = 0; c < depth; c++)
                out[c] += shares[0] * rows[0][c] + shares[1] * rows[1][c] + shares[2] * rows[2][c] +
                          shares[3] * rows[3][c];
        }
        level_value += height * width * look.stride;
    }
}

static void sample_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Sampling *task = argument;
    for (int64_t query = begin; query < end; query++)
        for (int64_t head = 0; head < task->heads; head++)
            if (task->depth == 32) /* of all published models */
                sum_samples(task, query, head, 32);
            else
                sum_samples(task, query, head, task->depth);
}

static inline __attribute__((always_inline)) void spread_gradient(const Sampling *task, int64_t query, int64_t head,
                                                                  int64_t depth) {
    Look look = look_of(task, query, head);
    const float *restrict gradient = task->gradient + query * look.stride + head * depth;
    float *of_offset = task->of_offsets + 2 * look.sample, *of_weight = task->of_weights + look.sample;
    int64_t start = look.value - task->value; /* of the level */
    for (int64_t level = 0; level < task->levels; level++) {
        int64_t height = (int64_t)task->sizes[2 * level], width = (int64_t)task->sizes[2 * level + 1];
        float y = look.place[1] * height - 0.5f, x = look.place[0] * width - 0.5f;
        for (int64_t point = 0; point < task->points; point++, look.offset += 2, of_offset += 2) {
            Corners corners = corners_of(y + look.offset[1], x + look.offset[0], height, width);
            float shares[4], products[4], weight = *look.weight++;
            shares_of(&corners, shares);
            for (int corner = 0; corner < 4; corner++) {
                int64_t pixel = start + corners.pixels[corner] * look.stride;
                const float *restrict row = task->value + pixel;
                float *restrict of_row = task->out + pixel, product = 0, share = weight * shares[corner];
                for (int64_t c = 0; c < depth; c++) {
                    product += gradient[c] * row[c];
                    of_row[c] += share * gradient[c];
                }
                products[corner] = product * corners.there[corner];
            }
            float down = corners.down, across = corners.across;
            *of_weight++ = (1 - down) * ((1 - across) * products[0] + across * products[1]) +
                           down * ((1 - across) * products[2] + across * products[3]);
            of_offset[0] = weight * ((1 - down) * (products[1] - products[0]) + down * (products[3] - products[2]));
            of_offset[1] = weight * ((1 - across) * (products[2] - products[0]) + across * (products[3] - products[1]));
        }
        start += height * width * look.stride;
    }
}

/* Items are heads of samples of the batch: no two of them write to the same pixel's channels. */
static void sample_gradient_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Sampling *task = argument;
    for (int64_t item = begin; item < end; item++)
        for (int64_t query = 0; query < task->queries; query++) {
            int64_t of_batch = item / task->heads * task->queries + query;
            if (task->depth == 32)
                spread_gradient(task, of_batch, item % task->heads, 32);
            else
                spread_gradient(task, of_batch, item % task->heads, task->depth);
        }
}

static Sampling sampling_of(int64_t **shapes, void **params) {
    Sampling task = {params[0], params[1], params[2], params[3], params[4]};
    task.batch = shapes[0][0], task.positions = shapes[0][1], task.queries = shapes[1][1], task.heads = shapes[1][2];
    task.levels = shapes[1][3], task.points = shapes[1][4], task.depth = shapes[0][2] / task.heads;
    return task;
}

static int64_t work_of(const Sampling *task) { /* elements */
    return task->batch * task->queries * task->heads * task->levels * task->points * task->depth;
}

Shape deformableInferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin)
        shape.begin[1] = shapes[1][1];
    return shape;
}

/* value (N, Lv, C), offsets (N, Lq, heads, levels, points, 2), weights (N, Lq, heads, levels, points), places (Lq, 2),
   sizes (levels, 2) -> (N, Lq, C). */
int deformable(ARGUMENTS) {
    Sampling task = sampling_of(shapes, params);
    task.out = params[5];
    divide(sample_part, &task, task.batch * task.queries, parts_for(work_of(&task)));
    return 0;
}

/* value, offsets, weights, places, sizes, gradient of the output -> gradients of value, offsets, weights. */
int deformable_gradient(ARGUMENTS) {
    Sampling task = sampling_of(shapes, params);
    task.gradient = params[5], task.out = params[6], task.of_offsets = params[7], task.of_weights = params[8];
    memset(task.out, 0, size(ranks[0], shapes[0]) * sizeof *task.out);
    divide(sample_gradient_part, &task, task.batch * task.heads, parts_for(work_of(&task)));
    return 0;
}
