/* The sampling of multi-scale deformable attention (arXiv:2010.04159, equation 3): a query sums weighted samples of
   several maps, bilinear between their pixels, zeros beyond their edges. */

#include "bilinear.h"

typedef struct {
    const float *value, *offsets, *weights, *reference_points, *out_grad;
    float *out, *value_grad, *offsets_grad, *weights_grad;
    int64_t *spatial_shapes; /* height and width of each level */
    int64_t batch, positions, queries, heads, levels, points, depth; /* depth: channels of a head */
} Sampling;

/* What one head of one query looks at. */
typedef struct {
    const float *value, *offset, *weight, *reference_point;
    int64_t stride; /* from a pixel to the next */
    int64_t sample; /* number of the first one */
} Look;

static inline Look look_of(const Sampling *task, int64_t query, int64_t head) { /* queries of all of the batch */
    int64_t stride = task->heads * task->depth;
    int64_t sample = (query * task->heads + head) * task->levels * task->points;
    const float *value = task->value + query / task->queries * task->positions * stride + head * task->depth;
    const float *reference_point = task->reference_points + 2 * (query % task->queries);
    return (Look){value, task->offsets + 2 * sample, task->weights + sample, reference_point, stride, sample};
}

/* Inlined, for a depth that the compiler may know. */
static inline __attribute__((always_inline)) void sum_samples(const Sampling *task, int64_t query, int64_t head,
                                                              int64_t depth) {
    Look look = look_of(task, query, head);
    float *restrict out = task->out + query * look.stride + head * depth;
    memset(out, 0, depth * sizeof *out);
    const float *level_value = look.value;
    for (int64_t level = 0; level < task->levels; level++) {
        int64_t height = task->spatial_shapes[2 * level], width = task->spatial_shapes[2 * level + 1];
        float y = look.reference_point[1] * height - 0.5f, x = look.reference_point[0] * width - 0.5f;
        for (int64_t point = 0; point < task->points; point++, look.offset += 2, look.weight++) {
            Corners corners = corners_at(y + look.offset[1], x + look.offset[0], height, width);
            const float *rows[4];
            float weights[4];
            corner_weights(&corners, weights);
            for (int corner = 0; corner < 4; corner++) {
                rows[corner] = level_value + corners.pixels[corner] * look.stride;
                weights[corner] *= *look.weight;
            }
            for (int64_t c = 0; c < depth; c++)
                out[c] += weights[0] * rows[0][c] + weights[1] * rows[1][c] + weights[2] * rows[2][c] +
                          weights[3] * rows[3][c];
        }
        level_value += height * width * look.stride;
    }
}

static void sample_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Sampling *task = argument;
    for (int64_t query = begin; query < end; query++)
        for (int64_t head = 0; head < task->heads; head++)
            if (task->depth == 32) /* of all published models */
                sum_samples(task, query, head, 32);
            else
                sum_samples(task, query, head, task->depth);
}

static inline __attribute__((always_inline)) void scatter_gradient(const Sampling *task, int64_t query, int64_t head,
                                                                   int64_t depth) {
    Look look = look_of(task, query, head);
    const float *restrict out_grad = task->out_grad + query * look.stride + head * depth;
    float *offset_grad = task->offsets_grad + 2 * look.sample, *weight_grad = task->weights_grad + look.sample;
    int64_t start = look.value - task->value; /* of the level */
    for (int64_t level = 0; level < task->levels; level++) {
        int64_t height = task->spatial_shapes[2 * level], width = task->spatial_shapes[2 * level + 1];
        float y = look.reference_point[1] * height - 0.5f, x = look.reference_point[0] * width - 0.5f;
        for (int64_t point = 0; point < task->points; point++, look.offset += 2, offset_grad += 2) {
            Corners corners = corners_at(y + look.offset[1], x + look.offset[0], height, width);
            float weights[4], products[4], weight = *look.weight++;
            corner_weights(&corners, weights);
            for (int corner = 0; corner < 4; corner++) {
                int64_t pixel = start + corners.pixels[corner] * look.stride;
                const float *restrict row = task->value + pixel;
                float *restrict row_grad = task->value_grad + pixel, product = 0, share = weight * weights[corner];
                for (int64_t c = 0; c < depth; c++) {
                    product += out_grad[c] * row[c];
                    row_grad[c] += share * out_grad[c];
                }
                products[corner] = product * corners.there[corner];
            }
            float down = corners.down, across = corners.across;
            *weight_grad++ = (1 - down) * ((1 - across) * products[0] + across * products[1]) +
                             down * ((1 - across) * products[2] + across * products[3]);
            offset_grad[0] = weight * ((1 - down) * (products[1] - products[0]) + down * (products[3] - products[2]));
            offset_grad[1] =
                weight * ((1 - across) * (products[2] - products[0]) + across * (products[3] - products[1]));
        }
        start += height * width * look.stride;
    }
}

/* Items are heads of samples of the batch: no two of them write to the same pixel's channels. */
static void sample_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Sampling *task = argument;
    for (int64_t item = begin; item < end; item++)
        for (int64_t i = 0; i < task->queries; i++) {
            int64_t query = item / task->heads * task->queries + i;
            if (task->depth == 32)
                scatter_gradient(task, query, item % task->heads, 32);
            else
                scatter_gradient(task, query, item % task->heads, task->depth);
        }
}

/* Fill `task` from the first five arrays; its spatial_shapes are to be freed if that is DONE. */
static Status read_inputs(const int *ranks, int64_t **shapes, void **params, Sampling *task) {
    if (ranks[0] != 3 || ranks[1] != 6 || !same_shape(5, shapes[1], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    *task = (Sampling){.value = params[0], .offsets = params[1], .weights = params[2], .reference_points = params[3]};
    task->batch = shapes[0][0], task->positions = shapes[0][1], task->queries = shapes[1][1];
    task->heads = shapes[1][2], task->levels = shapes[1][3], task->points = shapes[1][4];
    if (shapes[1][0] != task->batch || shapes[1][5] != 2 || task->heads < 1 || shapes[0][2] % task->heads ||
        !same_shape(2, (int64_t[]){task->queries, 2}, ranks[3], shapes[3]) ||
        !same_shape(2, (int64_t[]){task->levels, 2}, ranks[4], shapes[4]))
        return WRONG_SHAPE;
    task->depth = shapes[0][2] / task->heads;

    const float *given = params[4];
    task->spatial_shapes = malloc(2 * task->levels * sizeof *task->spatial_shapes + 1);
    if (!task->spatial_shapes)
        return NO_MEMORY;
    int64_t pixels = 0;
    int valid = 1;
    for (int64_t level = 0; level < task->levels && valid; level++) {
        int64_t *sides = task->spatial_shapes + 2 * level;
        for (int axis = 0; axis < 2; axis++) {
            float side = given[2 * level + axis];
            valid = valid && side >= 1 && side <= 1 << 24 && side == floorf(side); /* false for NaN */
            sides[axis] = valid ? (int64_t)side : 0;
        }
        pixels += sides[0] * sides[1];
        valid = valid && pixels <= task->positions;
    }
    if (valid && pixels == task->positions)
        return DONE;
    free(task->spatial_shapes);
    return WRONG_INDEX;
}

static int64_t work_of(const Sampling *task) { /* elements */
    return task->batch * task->queries * task->heads * task->levels * task->points * task->depth;
}

Shape deformable_attentionInferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] > 1 && ranks[1] > 1)
        shape.begin[1] = shapes[1][1];
    return shape;
}

/* value (N, Lv, C), offsets (N, Lq, heads, levels, points, 2) in pixels, attention weights (N, Lq, heads, levels,
   points), reference points (Lq, 2) from 0 to 1, spatial shapes (levels, 2) -> (N, Lq, C). Offsets and points are
   (x, y), spatial shapes (height, width): float32 that hold whole numbers from 1, whose products add up to Lv. */
int deformable_attention(ARGUMENTS) {
    if (!types_are("ffffff", count, types))
        return WRONG_TYPE;
    Sampling task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    if (same_shape(3, (int64_t[]){task.batch, task.queries, shapes[0][2]}, ranks[5], shapes[5])) {
        task.out = params[5];
        parallel_for(sample_part, &task, task.batch * task.queries, parts_for(work_of(&task)));
    } else
        status = WRONG_SHAPE;
    free(task.spatial_shapes);
    return status;
}

/* value, offsets, weights, reference points, spatial shapes, gradient of the output -> gradients of value, offsets,
   weights. The gradient of an offset is that of the bilinear surface it lies on, 0 beyond the edge. */
int deformable_attention_grad(ARGUMENTS) {
    if (!types_are("fffffffff", count, types))
        return WRONG_TYPE;
    Sampling task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    int fit = same_shape(3, (int64_t[]){task.batch, task.queries, shapes[0][2]}, ranks[5], shapes[5]);
    for (int output = 0; output < 3; output++)
        fit = fit && same_shape(ranks[output], shapes[output], ranks[6 + output], shapes[6 + output]);
    if (fit) {
        task.out_grad = params[5], task.value_grad = params[6], task.offsets_grad = params[7];
        task.weights_grad = params[8];
        memset(task.value_grad, 0, size(ranks[0], shapes[0]) * sizeof *task.value_grad);
        parallel_for(sample_grad_part, &task, task.batch * task.heads, parts_for(work_of(&task)));
    } else
        status = WRONG_SHAPE;
    free(task.spatial_shapes);
    return status;
}
