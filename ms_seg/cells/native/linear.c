/* Linear layers: a product of matrices, and their bias and activation while it is in the cache. */

#include "linear.h"

/* Items are pieces of the output. */
static void linear_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Linear *task = argument;
    for (int64_t item = begin; item < end; item++) {
        Piece piece = piece_of(task, item);
        float *out = task->out + piece.row * task->channels + piece.first;
        product(task->sgemm, piece.rows, piece.channels, task->in, (Matrix){task->x + piece.row * task->in, task->in, 0},
                (Matrix){task->weight + piece.first * task->in, task->in, 1}, 0, out, task->channels);
        finish(task, out, piece);
    }
}

/* Items are pieces of the gradient of x, out_grad weight: there rows are rows, and channels x's. */
static void x_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Linear *task = argument;
    int64_t columns = pieces(task->in, task->across);
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / columns * task->strip, first = item % columns * task->across;
        int64_t rows = task->rows - row < task->strip ? task->rows - row : task->strip;
        int64_t channels = task->in - first < task->across ? task->in - first : task->across;
        product(task->sgemm, rows, channels, task->channels,
                (Matrix){task->out_grad + row * task->channels, task->channels, 0},
                (Matrix){task->weight + first, task->in, 0}, 0, task->out + row * task->in + first, task->in);
    }
}

/* Items are pieces of the gradient of the weight, out_grad^T x: strips of the output's channels. */
static void weight_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Linear *task = argument;
    int64_t columns = pieces(task->in, task->across);
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / columns * task->strip, first = item % columns * task->across;
        int64_t rows = task->channels - row < task->strip ? task->channels - row : task->strip;
        int64_t channels = task->in - first < task->across ? task->in - first : task->across;
        product(task->sgemm, rows, channels, task->rows, (Matrix){task->out_grad + row, task->channels, 1},
                (Matrix){task->x + first, task->in, 0}, 0, task->out + row * task->in + first, task->in);
    }
}

/* Items are channels: a sum over rows is one thread's, and of its strips first. */
static void bias_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Linear *task = argument;
    float *restrict out = task->out;
    enum { BLOCK = 256 };
    for (int64_t first = begin; first < end; first += BLOCK) {
        int64_t channels = end - first < BLOCK ? end - first : BLOCK;
        memset(out + first, 0, channels * sizeof *out);
        for (int64_t strip = 0; strip < task->rows; strip += SHORT_STRIP) {
            float sums[BLOCK] = {0};
            for (int64_t row = strip; row < strip + SHORT_STRIP && row < task->rows; row++)
                for (int64_t c = 0; c < channels; c++)
                    sums[c] += task->out_grad[row * task->channels + first + c];
            for (int64_t c = 0; c < channels; c++)
                out[first + c] += sums[c];
        }
    }
}

static Status compute(ARGUMENTS, Activation activation, int with_residual) {
    Linear task = {.activation = activation};
    Status status = read_arrays(count, params, ranks, shapes, types, with_residual, &task);
    if (status)
        return status;
    parallel_for(linear_part, &task, pieces_of(&task), parts_for(work_of(&task)));
    return DONE;
}

Shape linearInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_reluInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_geluInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_quick_geluInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_residualInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }

/* x (..., in), weight (channels, in), bias (channels) -> x weight^T + bias, (..., channels); its ReLU; its GELU;
   that of CLIP. The weight may be a convolution's, (channels, C, k, k): MindSpore copies a parameter to reshape it. */
int linear(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, NOTHING, 0); }
int linear_relu(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, RELU, 0); }
int linear_gelu(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, GELU, 0); }
int linear_quick_gelu(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, QUICK_GELU, 0); }

/* x, weight, bias, residual (..., channels) -> residual + x weight^T + bias. */
int linear_residual(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, NOTHING, 1); }

/* x, weight, gradient of the output -> gradient of x. */
int linear_x_grad(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    Linear task = {.weight = params[1], .out_grad = params[2], .out = params[3]};
    Status status = read_sizes(ranks[0], shapes[0], ranks[1], shapes[1], &task);
    if (status)
        return status;
    if (!is_output(&task, ranks[0], shapes[0], ranks[2], shapes[2]) ||
        !same_shape(ranks[0], shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    cut(task.rows, task.in, task.channels, &task.strip, &task.across);
    parallel_for(x_grad_part, &task, pieces(task.rows, task.strip) * pieces(task.in, task.across),
                 parts_for(work_of(&task)));
    return DONE;
}

/* weight, x, gradient of the output -> gradient of the weight. */
int linear_weight_grad(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    Linear task = {.x = params[1], .out_grad = params[2], .out = params[3]};
    Status status = read_sizes(ranks[1], shapes[1], ranks[0], shapes[0], &task);
    if (status)
        return status;
    if (!is_output(&task, ranks[1], shapes[1], ranks[2], shapes[2]) ||
        !same_shape(ranks[0], shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    task.strip = even_pieces(task.channels, SHORT_STRIP), task.across = task.in;
    parallel_for(weight_grad_part, &task, pieces(task.channels, task.strip), parts_for(work_of(&task)));
    return DONE;
}

/* Of linear_relu: its output and the gradient of its output -> the gradient of what the ReLU is of. */
static void relu_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Linear *task = argument;
    const float *restrict x = task->x, *restrict out_grad = task->out_grad;
    float *restrict out = task->out;
    for (int64_t i = begin; i < end; i++)
        out[i] = x[i] > 0 ? out_grad[i] : 0;
}

int linear_relu_grad(ARGUMENTS) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    for (int other = 1; other < count; other++)
        if (!same_shape(ranks[0], shapes[0], ranks[other], shapes[other]))
            return WRONG_SHAPE;
    Linear task = {.x = params[0], .out_grad = params[1], .out = params[2]};
    int64_t elements = size(ranks[0], shapes[0]);
    parallel_for(relu_grad_part, &task, elements, parts_for(elements));
    return DONE;
}

/* bias (channels), gradient of the output (..., channels) -> gradient of the bias. */
int linear_bias_grad(ARGUMENTS) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    if (ranks[0] != 1 || ranks[1] < 1 || shapes[0][0] < 1 || shapes[1][ranks[1] - 1] != shapes[0][0] ||
        !same_shape(1, shapes[0], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    Linear task = {.out_grad = params[1], .out = params[2], .channels = shapes[0][0]};
    task.rows = size(ranks[1] - 1, shapes[1]);
    parallel_for(bias_grad_part, &task, task.channels, parts_for(task.rows * task.channels));
    return DONE;
}
