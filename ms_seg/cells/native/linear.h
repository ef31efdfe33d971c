/* What linear layers share, whatever numbers they are computed in: their arrays, their pieces, what follows a product. */

#ifndef LINEAR_H
#define LINEAR_H
#include "gelu.h"
#include "product.h"

/* A product is cut into pieces whose sides depend on its shape alone. Each packs the part of the weight that it reads:
   few rows and a large weight are cut by channels, all else by rows. oneDNN's sums of a row depend on the piece that it
   is in: the rows of a sample are cut as if it were alone, so that a picture's answer is the same in every batch. Samples
   of few rows, as texts are, share pieces: each for itself would pack, or read, the whole weight once more. */
enum { FEW_ROWS = 2048, LARGE_WEIGHT = 200000, LONG_STRIP = 1100, SHORT_STRIP = 512, WIDE = 1024, SHORT_SAMPLE = 80 };

typedef enum { NOTHING, RELU, GELU, QUICK_GELU } Activation;

typedef struct {
    const float *x, *weight, *bias, *residual, *out_grad; /* residual: NULL where the output is added to nothing */
    float *out;
    Activation activation;
    Sgemm sgemm;
    int64_t samples, rows, in, channels; /* rows: of a sample */
    int64_t strip, across;               /* of a piece: rows, and channels */
} Linear;

typedef struct { int64_t row, rows, first, channels; } Piece; /* rows of all samples, and channels from `first` */

/* The size of pieces, an even number of them and as few as there can be with at most `most` items each. */
static inline int64_t even_pieces(int64_t items, int64_t most) {
    int64_t pieces = 2 * ((items + 2 * most - 1) / (2 * most));
    return items ? (items + pieces - 1) / pieces : 1;
}

static inline void cut(int64_t rows, int64_t channels, int64_t depth, int64_t *strip, int64_t *across) {
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
static inline void finish(const Linear *task, float *out, Piece piece) {
    const float *restrict bias = task->bias + piece.first;
    int64_t channels = piece.channels;
    const float *residual = task->residual ? task->residual + (out - task->out) : NULL;
    for (int64_t i = 0; i < piece.rows; i++) {
        float *restrict row = out + i * task->channels;
        if (task->activation == GELU)
            for (int64_t c = 0; c < channels; c++)
                row[c] = gelu_of(row[c] + bias[c]);
        else if (task->activation == QUICK_GELU)
            for (int64_t c = 0; c < channels; c++)
                row[c] = quick_gelu_of(row[c] + bias[c]);
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

static inline int64_t work_of(const Linear *task) { /* as elements of other operators take time */
    return task->samples * task->rows * task->channels * (task->in / 64 + 1);
}

/* Fill the sizes of `task` from the shapes of x (..., in) and weight (channels, in): the weight's last axes may be
   several, as a convolution's are. All rows are one sample's. */
static inline Status read_sizes(int rank, const int64_t *x, int weight_rank, const int64_t *weight, Linear *task) {
    int64_t in = columns_of(weight_rank, weight);
    if (rank < 1 || in < 1 || x[rank - 1] != in || weight[0] < 1)
        return WRONG_SHAPE;
    task->sgemm = find_sgemm();
    task->samples = 1, task->rows = size(rank - 1, x), task->in = in, task->channels = weight[0];
    return DONE;
}

/* Whether an array is (..., channels), with the first axes of x. */
static inline int is_output(const Linear *task, int rank, const int64_t *x, int other_rank, const int64_t *other) {
    return rank == other_rank && !memcmp(x, other, (rank - 1) * sizeof *x) && other[rank - 1] == task->channels;
}

static inline Shape linear_shape(int *ranks, int64_t **shapes) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] > 0 && ranks[1] > 1)
        shape.end[-1] = shapes[1][0];
    return shape;
}

static inline int64_t pieces_of(const Linear *task) {
    return task->samples * pieces(task->rows, task->strip) * pieces(task->channels, task->across);
}

/* The pieces of a sample follow each other, and of these those of the same rows. */
static inline Piece piece_of(const Linear *task, int64_t item) {
    int64_t columns = pieces(task->channels, task->across), strips = pieces(task->rows, task->strip);
    int64_t strip = item / columns, row = strip % strips * task->strip, first = item % columns * task->across;
    return (Piece){
        .row = strip / strips * task->rows + row,
        .rows = task->rows - row < task->strip ? task->rows - row : task->strip,
        .first = first,
        .channels = task->channels - first < task->across ? task->channels - first : task->across,
    };
}

/* Fill `task` from x (..., in), weight (channels, in), bias (channels), the residual (..., channels) if there is one,
   and the output, of its shape. */
static inline Status read_arrays(int count, void **params, int *ranks, int64_t **shapes, const char **types,
                                 int with_residual, Linear *task) {
    if (!types_are(with_residual ? "fffff" : "ffff", count, types))
        return WRONG_TYPE;
    task->x = params[0], task->weight = params[1], task->bias = params[2];
    task->residual = with_residual ? params[3] : NULL, task->out = params[count - 1];
    Status status = read_sizes(ranks[0], shapes[0], ranks[1], shapes[1], task);
    if (status)
        return status;
    if (!same_shape(1, shapes[1], ranks[2], shapes[2]))
        return WRONG_SHAPE;
    for (int array = 3; array < count; array++)
        if (!is_output(task, ranks[0], shapes[0], ranks[array], shapes[array]))
            return WRONG_SHAPE;
    if (ranks[0] > 2 && shapes[0][0] && task->rows / shapes[0][0] >= SHORT_SAMPLE)
        task->samples = shapes[0][0], task->rows /= task->samples;
    cut(task->rows, task->channels, task->in, &task->strip, &task->across);
    return DONE;
}

#endif
