/* Linear layers whose product is of numbers rounded to bfloat16, with sums, bias, activation and residual in float32: a
   processor's matrix unit (amx.h) multiplies where there is one, and oneDNN elsewhere: with avx512_bf16 of a Zen 4 in
   half the time. Only in inference. */

#include "amx.h"
#include "linear.h"

/* c (m, n) = alpha a b + beta c, as Sgemm, of matrices in bfloat16. */
typedef int (*Bgemm)(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const Bfloat16 *a,
                     int64_t lda, const Bfloat16 *b, int64_t ldb, float beta, float *c, int64_t ldc, void *pool);

static Bgemm find_bgemm(void) { /* NULL if there is none */
    static _Atomic(void *) known;
    void *symbol = find_product("dnnl_threadpool_interop_gemm_bf16bf16f32", &known);
    Bgemm bgemm;
    memcpy(&bgemm, &symbol, sizeof bgemm);
    return bgemm;
}

typedef struct {
    Linear linear;
    Bgemm bgemm;                 /* NULL where the processor's matrix unit multiplies */
    Bfloat16 *x, *weight;        /* rounded */
    int64_t deep;                /* `in`, up to a whole tile */
} LinearBfloat16;

static inline Bfloat16 rounded(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16; /* to even */
    return (Bfloat16)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : nearest); /* NaN stays */
}

static void round_row(const float *values, int64_t count, int64_t whole_count, Bfloat16 *row) {
    for (int64_t i = 0; i < count; i++)
        row[i] = rounded(values[i]);
    for (int64_t i = count; i < whole_count; i++)
        row[i] = 0;
}

/* Items are rows. */
static void round_x_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LinearBfloat16 *task = argument;
    int64_t in = task->linear.in;
    for (int64_t row = begin; row < end; row++)
        round_row(task->linear.x + row * in, in, task->deep, task->x + row * task->deep);
}

/* Items are channels. */
static void round_weight_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LinearBfloat16 *task = argument;
    int64_t in = task->linear.in;
    for (int64_t channel = begin; channel < end; channel++)
        round_row(task->linear.weight + channel * in, in, in, task->weight + channel * in);
}

/* Items are the tiles of 16 channels: see amx.h. */
static void tile_weight_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LinearBfloat16 *task = argument;
    int64_t in = task->linear.in, channels = task->linear.channels;
    for (int64_t channel = begin * TILE; channel < end * TILE; channel++) {
        Bfloat16 *out = task->weight + channel / TILE * TILE * task->deep + channel % TILE * 2;
        for (int64_t first = 0; first < task->deep; first += DEEP_TILE, out += TILE * DEEP_TILE) {
            Bfloat16 row[DEEP_TILE];
            int64_t there = channel < channels ? (in - first < DEEP_TILE ? in - first : DEEP_TILE) : 0;
            round_row(task->linear.weight + channel * in + first, there, DEEP_TILE, row);
            for (int64_t pair = 0; pair < DEEP_TILE / 2; pair++)
                memcpy(out + pair * 2 * TILE, row + 2 * pair, 2 * sizeof *row);
        }
    }
}

/* Items are pieces of the output. */
static void bfloat16_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LinearBfloat16 *task = argument;
    const Linear *linear = &task->linear;
    int64_t deep = task->deep;
    if (!task->bgemm)
        begin_tiles();
    for (int64_t item = begin; item < end; item++) {
        Piece piece = piece_of(linear, item);
        float *out = linear->out + piece.row * linear->channels + piece.first;
        const Bfloat16 *x = task->x + piece.row * deep, *weight = task->weight + piece.first * deep;
        if (task->bgemm)
            task->bgemm('N', 'T', piece.rows, piece.channels, deep, 1, x, deep, weight, deep, 0, out, linear->channels,
                        NULL);
        else
            amx_product(piece.rows, piece.channels, deep, x, weight, out, linear->channels);
        finish(linear, out, piece);
    }
    if (!task->bgemm)
        end_tiles();
}

/* Whether there is such a product on this processor. */
int has_bfloat16(void) {
    Bgemm bgemm = find_bgemm();
    Bfloat16 one = 0x3f80;
    float product = 0;
    return has_amx() || (bgemm && !bgemm('N', 'T', 1, 1, 1, 1, &one, 1, &one, 1, 0, &product, 1, NULL) && product == 1);
}

static Status compute(ARGUMENTS, Activation activation, int with_residual) {
    int tiles = has_amx();
    LinearBfloat16 task = {.linear = {.activation = activation}, .bgemm = tiles ? NULL : find_bgemm()};
    Linear *linear = &task.linear;
    Status status = read_arrays(count, params, ranks, shapes, types, with_residual, linear);
    if (status)
        return status;
    if (!tiles && !task.bgemm)
        return NO_PRODUCT;
    task.deep = tiles ? whole(linear->in, DEEP_TILE) : linear->in;
    /* The last rows of x that are read are not there; what becomes of them is not kept. */
    int64_t rows = linear->samples * linear->rows, inputs = rows * task.deep, beyond = tiles ? BLOCK * task.deep : 0;
    int64_t channels = tiles ? whole(linear->channels, TILE) + TILE : linear->channels;
    task.x = malloc((inputs + beyond + channels * task.deep) * sizeof *task.x);
    if (!task.x)
        return NO_MEMORY;
    memset(task.x + inputs, 0, beyond * sizeof *task.x);
    task.weight = task.x + inputs + beyond;
    parallel_for(round_x_part, &task, rows, parts_for(inputs));
    if (tiles)
        parallel_for(tile_weight_part, &task, channels / TILE, parts_for(channels * task.deep));
    else
        parallel_for(round_weight_part, &task, channels, parts_for(channels * task.deep));
    parallel_for(bfloat16_part, &task, pieces_of(linear), parts_for(work_of(linear)));
    free(task.x);
    return DONE;
}

Shape linear_bfloat16InferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_relu_bfloat16InferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_gelu_bfloat16InferShape(int *ranks, int64_t **shapes, void *extra) { return linear_shape(ranks, shapes); }
Shape linear_residual_bfloat16InferShape(int *ranks, int64_t **shapes, void *extra) {
    return linear_shape(ranks, shapes);
}

/* x (..., in), weight (channels, in), bias (channels) -> x weight^T + bias, (..., channels); its ReLU; its GELU. */
int linear_bfloat16(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, NOTHING, 0); }
int linear_relu_bfloat16(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, RELU, 0); }
int linear_gelu_bfloat16(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, GELU, 0); }

/* x, weight, bias, residual (..., channels) -> residual + x weight^T + bias. */
int linear_residual_bfloat16(ARGUMENTS) {
    return compute(count, params, ranks, shapes, types, stream, extra, NOTHING, 1);
}
