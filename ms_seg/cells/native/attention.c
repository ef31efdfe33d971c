/* Multi-head attention (arXiv:1706.03762, section 3.2), with a mask or without. */

#include "attention.h"

typedef struct {
    const float *values;
    int64_t of_sample; /* from a sample's mask to the next: 0 where all have one */
} Mask;

static void copy_mask(const Attention *task, const Head *head, int64_t query, float *out) {
    const Mask *mask = task->biases;
    const float *row = mask->values + head->sample * mask->of_sample + query * task->keys;
    memcpy(out, row, task->keys * sizeof *out);
}

/* Fill `task` from query, key, value and heads, which is number `last`, and `mask` from what is between, if anything. */
static Status read_inputs(int last, const int *ranks, int64_t **shapes, void **params, Attention *task, Mask *mask) {
    for (int input = 0; input < last; input++)
        if (ranks[input] != 3)
            return WRONG_SHAPE;
    int64_t batch = shapes[0][0], queries = shapes[0][1], channels = shapes[0][2], keys = shapes[1][1];
    if (!same_shape(3, (int64_t[]){batch, keys, channels}, 3, shapes[1]) || !same_shape(3, shapes[1], 3, shapes[2]) ||
        size(ranks[last], shapes[last]) != 1 || channels < 1 || keys < 1)
        return WRONG_SHAPE;
    int64_t masks = last > 3 ? shapes[3][0] : 0;
    if (last > 3 && ((masks != 1 && masks != batch) || shapes[3][1] != queries || shapes[3][2] != keys))
        return WRONG_SHAPE;
    int32_t heads = *(int32_t *)params[last];
    if (heads < 1 || channels % heads)
        return WRONG_INDEX;
    *mask = (Mask){.values = params[3], .of_sample = masks > 1 ? queries * keys : 0};
    *task = (Attention){.query = {.values = params[0], .row = channels}, .key = {.values = params[1], .row = channels},
                        .value = {.values = params[2], .row = channels}, .sgemm = find_sgemm(), .batch = batch,
                        .queries = queries, .keys = keys, .heads = heads, .depth = channels / heads,
                        .copy_biases = last > 3 ? copy_mask : NULL, .biases = mask};
    return DONE;
}

/* The output follows `last`. */
static Status compute(int last, const int *ranks, int64_t **shapes, void **params) {
    Attention task;
    Mask mask;
    Status status = read_inputs(last, ranks, shapes, params, &task, &mask);
    if (status)
        return status;
    if (!same_shape(3, shapes[0], ranks[last + 1], shapes[last + 1]))
        return WRONG_SHAPE;
    task.out = params[last + 1];
    if (!allocate_scratch(&task, 0))
        return NO_MEMORY;
    attend(&task);
    free(task.scratch);
    return DONE;
}

/* The gradient of the output follows `last`, and then those of query, key and value. */
static Status compute_grad(int last, const int *ranks, int64_t **shapes, void **params) {
    Attention task;
    Mask mask;
    Status status = read_inputs(last, ranks, shapes, params, &task, &mask);
    if (status)
        return status;
    if (!same_shape(3, shapes[0], ranks[last + 1], shapes[last + 1]))
        return WRONG_SHAPE;
    for (int input = 0; input < 3; input++)
        if (!same_shape(3, shapes[input], ranks[last + 2 + input], shapes[last + 2 + input]))
            return WRONG_SHAPE;
    task.out_grad = params[last + 1];
    task.query.grad = params[last + 2], task.key.grad = params[last + 3], task.value.grad = params[last + 4];
    if (!allocate_scratch(&task, 1))
        return NO_MEMORY;
    attend_grad(&task);
    free(task.scratch);
    return DONE;
}

Shape attentionInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* query (N, Lq, C), key and value (N, Lk, C), heads int32 () -> (N, Lq, C). */
int attention(ARGUMENTS) {
    return types_are("fffif", count, types) ? compute(3, ranks, shapes, params) : WRONG_TYPE;
}

/* query, key, value, heads, gradient of the output -> gradients of query, key and value. */
int attention_grad(ARGUMENTS) {
    return types_are("fffiffff", count, types) ? compute_grad(3, ranks, shapes, params) : WRONG_TYPE;
}

Shape masked_attentionInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* query, key, value, mask (N, Lq, Lk) or (1, Lq, Lk), heads -> (N, Lq, C). The mask is added to the scores of all heads;
   a query whose whole mask is -inf has NaN. */
int masked_attention(ARGUMENTS) {
    return types_are("ffffif", count, types) ? compute(4, ranks, shapes, params) : WRONG_TYPE;
}

/* query, key, value, mask, heads, gradient of the output -> gradients of query, key and value. */
int masked_attention_grad(ARGUMENTS) {
    return types_are("ffffiffff", count, types) ? compute_grad(4, ranks, shapes, params) : WRONG_TYPE;
}

/* --------------------------------------------------------------------------------------------- packed projections */

/* Fill `task` from qkv and heads. */
static Status read_packed(const int *ranks, int64_t **shapes, void **params, Attention *task) {
    if (ranks[0] != 3 || size(ranks[1], shapes[1]) != 1 || shapes[0][1] < 1 || shapes[0][2] < 3 || shapes[0][2] % 3)
        return WRONG_SHAPE;
    int64_t length = shapes[0][1], row = shapes[0][2], channels = row / 3;
    int32_t heads = *(int32_t *)params[1];
    if (heads < 1 || channels % heads)
        return WRONG_INDEX;
    const float *qkv = params[0];
    *task = (Attention){.query = {.values = qkv, .row = row}, .key = {.values = qkv + channels, .row = row},
                        .value = {.values = qkv + 2 * channels, .row = row}, .sgemm = find_sgemm(),
                        .batch = shapes[0][0], .queries = length, .keys = length, .heads = heads,
                        .depth = channels / heads};
    return DONE;
}

Shape self_attentionInferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 3 && shape.begin[2] > 0)
        shape.begin[2] /= 3;
    return shape;
}

/* qkv (N, L, 3 C): queries, keys and values, each head by head; heads int32 () -> (N, L, C). */
int self_attention(ARGUMENTS) {
    if (!types_are("fif", count, types))
        return WRONG_TYPE;
    Attention task;
    Status status = read_packed(ranks, shapes, params, &task);
    if (status)
        return status;
    if (!same_shape(3, (int64_t[]){task.batch, task.queries, task.heads * task.depth}, ranks[2], shapes[2]))
        return WRONG_SHAPE;
    task.out = params[2];
    if (!allocate_scratch(&task, 0))
        return NO_MEMORY;
    attend(&task);
    free(task.scratch);
    return DONE;
}

/* qkv, heads, gradient of the output -> gradient of qkv. */
int self_attention_grad(ARGUMENTS) {
    if (!types_are("fiff", count, types))
        return WRONG_TYPE;
    Attention task;
    Status status = read_packed(ranks, shapes, params, &task);
    if (status)
        return status;
    int64_t channels = task.heads * task.depth;
    if (!same_shape(3, (int64_t[]){task.batch, task.queries, channels}, ranks[2], shapes[2]) ||
        !same_shape(3, shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    float *qkv_grad = params[3];
    task.out_grad = params[2], task.query.grad = qkv_grad;
    task.key.grad = qkv_grad + channels, task.value.grad = qkv_grad + 2 * channels;
    if (!allocate_scratch(&task, 1))
        return NO_MEMORY;
    attend_grad(&task);
    free(task.scratch);
    return DONE;
}
