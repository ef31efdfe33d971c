/* Linear layers whose product is of numbers rounded to bfloat16, with sums, bias, activation and residual in float32: a
   processor with avx512_bf16 takes half as long. Only in inference. */

#include "linear.h"

typedef uint16_t Bfloat16;

/* c (m, n) = alpha a b + beta c, as Sgemm, of matrices in bfloat16. */
typedef int (*Bgemm)(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const Bfloat16 *a,
                     int64_t lda, const Bfloat16 *b, int64_t ldb, float beta, float *c, int64_t ldc, void *pool);

static Bgemm find_bgemm(void) { /* NULL if there is none */
    void *library = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_NOLOAD);
    if (!library)
        return NULL;
    void *symbol = dlsym(library, "dnnl_threadpool_interop_gemm_bf16bf16f32");
    dlclose(library);
    Bgemm bgemm;
    memcpy(&bgemm, &symbol, sizeof bgemm);
    return bgemm;
}

typedef struct {
    const float *values;
    Bfloat16 *rounded;
} Rounding;

static void round_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Rounding *task = argument;
    for (int64_t i = begin; i < end; i++) {
        uint32_t bits;
        memcpy(&bits, task->values + i, sizeof bits);
        uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16; /* to even */
        task->rounded[i] = (Bfloat16)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : nearest); /* NaN stays */
    }
}

static void round_all(const float *values, int64_t count, Bfloat16 *rounded) {
    parallel_for(round_part, &(Rounding){values, rounded}, count, parts_for(count));
}

typedef struct {
    Linear linear;
    Bgemm bgemm;
    const Bfloat16 *x, *weight;
} LinearBfloat16;

/* Items are pieces of the output. */
static void bfloat16_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LinearBfloat16 *task = argument;
    const Linear *linear = &task->linear;
    int64_t columns = pieces(linear->channels, linear->across), in = linear->in;
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / columns * linear->strip, first = item % columns * linear->across;
        int64_t rows = linear->rows - row < linear->strip ? linear->rows - row : linear->strip;
        int64_t channels = linear->channels - first < linear->across ? linear->channels - first : linear->across;
        float *out = linear->out + row * linear->channels + first;
        task->bgemm('N', 'T', rows, channels, in, 1, task->x + row * in, in, task->weight + first * in, in, 0, out,
                    linear->channels, NULL);
        finish(linear, out, rows, first, channels);
    }
}

/* Whether oneDNN has this product on this processor. */
int has_bfloat16(void) {
    Bgemm bgemm = find_bgemm();
    Bfloat16 one = 0x3f80;
    float product = 0;
    return bgemm && !bgemm('N', 'T', 1, 1, 1, 1, &one, 1, &one, 1, 0, &product, 1, NULL) && product == 1;
}

static Status compute(ARGUMENTS, Activation activation, int with_residual) {
    LinearBfloat16 task = {.linear = {.activation = activation}, .bgemm = find_bgemm()};
    Linear *linear = &task.linear;
    Status status = read_arrays(count, params, ranks, shapes, types, with_residual, linear);
    if (status)
        return status;
    if (!task.bgemm)
        return NO_PRODUCT;
    int64_t inputs = linear->rows * linear->in, weights = linear->channels * linear->in;
    Bfloat16 *rounded = malloc((inputs + weights) * sizeof *rounded);
    if (!rounded)
        return NO_MEMORY;
    round_all(linear->x, inputs, rounded);
    round_all(linear->weight, weights, rounded + inputs);
    task.x = rounded, task.weight = rounded + inputs;
    parallel_for(bfloat16_part, &task, pieces_of(linear), parts_for(work_of(linear)));
    free(rounded);
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
