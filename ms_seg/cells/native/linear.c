/* Linear layers: a product of matrices, and their bias and activation while it is in the cache. */

#include "gelu.h"
#include "product.h"

/* A product is cut into pieces whose sides depend on its shape alone. Each packs the part of the weight that it reads:
   few rows and a large weight are cut by channels, all else by rows. */
enum { FEW_ROWS = 2048, LARGE_WEIGHT = 200000, LONG_STRIP = 1100, SHORT_STRIP = 512, WIDE = 1024 };

typedef enum { NOTHING, RELU, GELU } Activation;

typedef struct {
    const float *x, *weight, *bias, *residual, *out_grad; /* residual: NULL where the output is added to nothing */
    float *out;
    Activation activation;
    Sgemm sgemm;
    int64_t rows, in, channels;
    int64_t strip, across; /* of a piece: rows, and channels */
} Linear;

/* The size of pieces, an even number of them and as few as there can be with at most `most` items each. */
static int64_t even_pieces(int64_t items, int64_t most) {
    int64_t pieces = 2 * ((items + 2 * most - 1) / (2 * most));
    return items ? (items + pieces - 1) / pieces : 1;
}

static void cut(int64_t rows, int64_t channels, int64_t depth, int64_t *strip, int64_t *across) {
    int large = channels * depth > LARGE_WEIGHT;
    if (large && rows < FEW_ROWS && channels >= SHORT_STRIP) {
        *strip = rows ? rows : 1;
        *across = (even_pieces(channels, WIDE) + 15) / 16 * 16;
    } else {
        *strip = even_pieces(rows, large ? LONG_STRIP : SHORT_STRIP);
        *across = channels;
    }
}

static inline int64_t pieces(int64_t items, int64_t most) { return (items + most - 1) / most; }

/* Add the bias to a piece, and activate it or add the residual. */
static void finish(const Linear *task, float *out, int64_t rows, int64_t first, int64_t channels) {
    const float *restrict bias = task->bias + first;
    const float *residual = task->residual ? task->residual + (out - task->out) : NULL;
    for (int64_t i = 0; i < rows; i++) {
        float *restrict row = out + i * task->channels;
        if (task->activation == GELU)
            for (int64_t c = 0; c < channels; c++)
                row[c] = gelu_of(row[c] + bias[c]);
        else if (task->activation == RELU)
            for (int64_t c = 0; c < channels; c++)
                row[c] = row[c] + bias[c] < 0 ? 0 : row[c] + bias[c]; /* NaN stays */
        else if (residual)
            for (int64_t c = 0; c < channels; c++)
                row[c] += bias[c] + residual[i * task->channels + c];
        else
            for (int64_t c = 0; c < channels; c++)
                row[c] += bias[c];
    }
}

/* Items are pieces of the output. */
static void linear_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Linear *task = argument;
    int64_t columns = pieces(task->channels, task->across);
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / columns * task->strip, first = item % columns * task->across;
        int64_t rows = task->rows - row < task->strip ? task->rows - row : task->strip;
        int64_t channels = task->channels - first < task->across ? task->channels - first : task->across;
        float *out = task->out + row * task->channels + first;
        product(task->sgemm, rows, channels, task->in, (Matrix){task->x + row * task->in, task->in, 0},
                (Matrix){task->weight + first * task->in, task->in, 1}, 0, out, task->channels);
        finish(task, out, rows, first, channels);
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

static inline int64_t work_of(const Linear *task) { /* as elements of other operators take time */
    return task->rows * task->channels * (task->in / 64 + 1);
}

/* Fill the sizes of `task` from the shapes of x (..., in) and weight (channels, in). */
static Status read_sizes(int rank, const int64_t *x, int weight_rank, const int64_t *weight, Linear *task) {
    if (rank < 1 || weight_rank != 2 || x[rank - 1] != weight[1] || weight[0] < 1 || weight[1] < 1)
        return WRONG_SHAPE;
    task->sgemm = find_sgemm();
    task->rows = size(rank - 1, x), task->in = weight[1], task->channels = weight[0];
    return DONE;
}

/* Whether an array is (..., channels), with the first axes of x. */
static int is_output(const Linear *task, int rank, const int64_t *x, int other_rank, const int64_t *other) {
    return rank == other_rank && !memcmp(x, other, (rank - 1) * sizeof *x) && other[rank - 1] == task->channels;
}

static Shape linear_shape(int *ranks, int64_t **shapes) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] > 0 && ranks[1] == 2)
        shape.end[-1] = shapes[1][0];
    return shape;
}

static Status compute(ARGUMENTS, Activation activation, int with_residual) {
    if (!types_are(with_residual ? "fffff" : "ffff", count, types))
        return WRONG_TYPE;
    int last = count - 1;
    Linear task = {.x = params[0], .weight = params[1], .bias = params[2], .residual = with_residual ? params[3] : NULL,
                   .out = params[last], .activation = activation};
    Status status = read_sizes(ranks[0], shapes[0], ranks[1], shapes[1], &task);
    if (status)
        return status;
    if (!same_shape(1, shapes[1], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    for (int array = 3; array <= last; array++)
        if (!is_output(&task, ranks[0], shapes[0], ranks[array], shapes[array]))
            return WRONG_SHAPE;
    cut(task.rows, task.channels, task.in, &task.strip, &task.across);
    parallel_for(linear_part, &task, pieces(task.rows, task.strip) * pieces(task.channels, task.across),
                 parts_for(work_of(&task)));
    return DONE;
}

Shape linearInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_reluInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_geluInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_residualInferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }

/* x (..., in), weight (channels, in), bias (channels) -> x weight^T + bias, (..., channels); its ReLU; its GELU. */
int linear(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, NOTHING, 0); }
int linear_relu(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, RELU, 0); }
int linear_gelu(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, GELU, 0); }

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
        !same_shape(2, shapes[0], ranks[3], shapes[3]))
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
