/* Linear layers whose product is of numbers rounded to bfloat16, with sums, bias, activation and residual in float32.
   Only in inference.

   A processor's matrix unit (amx.h) multiplies where there is one. Elsewhere it is oneDNN: its product in bfloat16 where
   that is the faster one, as with avx512_bf16 of a Zen 4 in half the time, and else its sgemm of the rounded numbers. A
   Xeon whose matrix unit a virtual machine hides has avx512_bf16 too, at half of float32's rate (Emerald Rapids: 86 and
   175 GFLOP/s of a core): SegFormer-B5 took 1.5 times as long as in float32. */

#include "amx.h"
#include "linear.h"
#include <time.h>

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

typedef enum { UNKNOWN, BY_TILES, BY_BGEMM, BY_SGEMM } Multiplier;

typedef struct {
    Linear linear;
    Multiplier multiplier;
    Bgemm bgemm;
    void *x, *weight; /* rounded: Bfloat16, or float by sgemm */
    int64_t deep;     /* `in`, up to a whole tile */
} LinearBfloat16;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

/* Whether oneDNN has a product in bfloat16 that is faster than the one in float32: of both, in turns, the best of a few
   times. One is faster by a factor of about two, and a busy machine may make 1.3 of it. */
static int bgemm_is_faster(Bgemm bgemm, Sgemm sgemm) {
    enum { SIDE = 384, TURNS = 8 };
    float *room = bgemm ? calloc(3 * SIDE * SIDE, sizeof *room) : NULL;
    if (!room)
        return 0;
    float *out = room + 2 * SIDE * SIDE;
    const Bfloat16 *low = (const Bfloat16 *)room;
    double in_float32 = 1, in_bfloat16 = 1;
    int failed = 0;
    for (int turn = 0; turn < TURNS && !failed; turn++) {
        double begun = seconds();
        failed = bgemm('N', 'T', SIDE, SIDE, SIDE, 1, low, SIDE, low + SIDE * SIDE, SIDE, 0, out, SIDE, NULL);
        double between = seconds();
        if (sgemm)
            sgemm('N', 'T', SIDE, SIDE, SIDE, 1, room, SIDE, room + SIDE * SIDE, SIDE, 0, out, SIDE, NULL);
        in_bfloat16 = fmin(between - begun, in_bfloat16), in_float32 = fmin(seconds() - between, in_float32);
    }
    free(room);
    return !failed && (!sgemm || in_bfloat16 < 0.75 * in_float32);
}

static Multiplier find_multiplier(void) {
    static _Atomic Multiplier known;
    Multiplier multiplier = atomic_load_explicit(&known, memory_order_relaxed);
    if (multiplier == UNKNOWN) {
        multiplier = has_amx() ? BY_TILES : bgemm_is_faster(find_bgemm(), find_sgemm()) ? BY_BGEMM : BY_SGEMM;
        atomic_store_explicit(&known, multiplier, memory_order_relaxed);
    }
    return multiplier;
}

/* Whether these layers are faster on this processor than those in float32. */
int bfloat16_is_faster(void) { return find_multiplier() != BY_SGEMM; }

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

static void round_floats(const float *restrict values, int64_t count, float *restrict to) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)rounded(values[i]) << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

/* Rows of a matrix, `in` numbers each, rounded: Bfloat16, `deep` of them; or float, in their places. */
static void round_rows(const LinearBfloat16 *task, const float *values, int64_t begin, int64_t end, void *to) {
    int64_t in = task->linear.in, first = begin * in, count = (end - begin) * in;
    if (task->multiplier == BY_SGEMM)
        round_floats(values + first, count, (float *)to + first);
    else
        for (int64_t row = begin; row < end; row++)
            round_row(values + row * in, in, task->deep, (Bfloat16 *)to + row * task->deep);
}

/* Items are rows. */
static void round_x_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LinearBfloat16 *task = argument;
    round_rows(task, task->linear.x, begin, end, task->x);
}

/* Items are channels. */
static void round_weight_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LinearBfloat16 *task = argument;
    round_rows(task, task->linear.weight, begin, end, task->weight);
}

/* Items are the tiles of 16 channels: see amx.h. */
static void tile_weight_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LinearBfloat16 *task = argument;
    int64_t in = task->linear.in, channels = task->linear.channels;
    for (int64_t channel = begin * TILE; channel < end * TILE; channel++) {
        Bfloat16 *out = (Bfloat16 *)task->weight + channel / TILE * TILE * task->deep + channel % TILE * 2;
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
    int64_t deep = task->deep, stride = linear->channels;
    if (task->multiplier == BY_TILES)
        begin_tiles();
    for (int64_t item = begin; item < end; item++) {
        Piece piece = piece_of(linear, item);
        float *out = linear->out + piece.row * stride + piece.first;
        const Bfloat16 *x = (const Bfloat16 *)task->x + piece.row * deep;
        const Bfloat16 *weight = (const Bfloat16 *)task->weight + piece.first * deep;
        if (task->multiplier == BY_TILES)
            amx_product(piece.rows, piece.channels, deep, x, weight, out, stride);
        else if (task->multiplier == BY_BGEMM)
            task->bgemm('N', 'T', piece.rows, piece.channels, deep, 1, x, deep, weight, deep, 0, out, stride, NULL);
        else
            product(linear->sgemm, piece.rows, piece.channels, deep,
                    (Matrix){(const float *)task->x + piece.row * deep, deep, 0},
                    (Matrix){(const float *)task->weight + piece.first * deep, deep, 1}, 0, out, stride);
        finish(linear, out, piece);
    }
    if (task->multiplier == BY_TILES)
        end_tiles();
}

static Status compute(ARGUMENTS, Activation activation, int with_residual) {
    LinearBfloat16 task = {
        .linear = {.activation = activation}, .multiplier = find_multiplier(), .bgemm = find_bgemm()};
    int tiles = task.multiplier == BY_TILES;
    Linear *linear = &task.linear;
    Status status = read_arrays(count, params, ranks, shapes, types, with_residual, linear);
    if (status)
        return status;
    task.deep = tiles ? whole(linear->in, DEEP_TILE) : linear->in;
    /* The last rows of x that are read are not there; what becomes of them is not kept. */
    int64_t rows = linear->samples * linear->rows, inputs = rows * task.deep, beyond = tiles ? BLOCK * task.deep : 0;
    int64_t channels = tiles ? whole(linear->channels, TILE) + TILE : linear->channels;
    size_t size = task.multiplier == BY_SGEMM ? sizeof(float) : sizeof(Bfloat16);
    task.x = malloc((inputs + beyond + channels * task.deep) * size);
    if (!task.x)
        return NO_MEMORY;
    memset((char *)task.x + inputs * size, 0, beyond * size);
    task.weight = (char *)task.x + (inputs + beyond) * size;
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
