/* Attention in one pass: a few queries of one head at a time, so that their scores stay in the cache and nothing of the
   size (heads, queries, keys) is ever written. Gradients compute the scores once more. */

#ifndef ATTENTION_H
#define ATTENTION_H
#include "product.h"
#include "softmax.h"

#define QUERIES 128 /* of a piece */

typedef struct Attention Attention;

/* One head of one sample. Its keys and values are copied to stand close together: a product that reads them where they
   are, each in a page of memory of its own, takes half as long again. */
typedef struct {
    int64_t sample, number;
    float *keys, *values;                         /* (depth, stride) and (keys, depth) */
    float *queries, *scores;                      /* of a piece: (QUERIES, depth), scaled, and (QUERIES, stride) */
    float *scores_grad, *keys_grad, *values_grad; /* (QUERIES, stride), (keys, depth), (keys, depth) */
} Head;

/* Tokens of a sample follow each other, each a row in which its heads do. */
typedef struct {
    const float *values;
    float *grad;
    int64_t row; /* numbers from a token to the next */
} Tokens;

struct Attention {
    Tokens query, key, value;
    const float *out_grad;
    float *out, *scratch;
    Sgemm sgemm;
    int64_t batch, queries, keys, heads, depth;
    int64_t stride;       /* of rows that are as long as there are keys */
    int64_t scratch_size; /* of a worker */
    /* What is added to the scores of a query, written to `out`, and the gradient of that; NULL where nothing is. */
    void (*copy_biases)(const Attention *task, const Head *head, int64_t query, float *out);
    void (*add_biases_grad)(const Attention *task, const Head *head, int64_t query, const float *scores_grad);
    const void *biases; /* for these two */
};

static inline int64_t pieces_of(const Attention *task) { return (task->queries + QUERIES - 1) / QUERIES; }

static inline int64_t size_of_piece(const Attention *task, int64_t first) {
    return task->queries - first < QUERIES ? task->queries - first : QUERIES;
}

/* Where a sample's first token has this head, of `length` tokens in a sample. */
static inline int64_t place_of(const Attention *task, const Head *head, int64_t row, int64_t length) {
    return head->sample * length * row + head->number * task->depth;
}

/* (keys, depth) -> (depth, stride), a line of the cache at a time: written token by token, where rows are 1024 bytes
   apart, the lines of a token drive each other out of the cache, and 256 keys of depth 64 take 34 us instead of 3. */
static void turn_keys(const Attention *task, const float *keys, float *out) {
    for (int64_t first = 0; first < task->keys; first += LANES) {
        int64_t tokens = task->keys - first < LANES ? task->keys - first : LANES;
        for (int64_t c = 0; c < task->depth; c++)
            for (int64_t token = first; token < first + tokens; token++)
                out[c * task->stride + token] = keys[token * task->key.row + c];
    }
}

static Head head_at(const Attention *task, int64_t number, int worker) { /* number: among the heads of all samples */
    int64_t depth = task->depth;
    Head head = {.sample = number / task->heads, .number = number % task->heads};
    head.keys = task->scratch + worker * task->scratch_size;
    head.values = head.keys + depth * task->stride;
    head.queries = head.values + depth * task->stride;
    head.scores = head.queries + QUERIES * depth;
    head.scores_grad = head.scores + QUERIES * task->stride;
    head.keys_grad = head.scores_grad + QUERIES * task->stride;
    head.values_grad = head.keys_grad + depth * task->stride;
    const float *keys = task->key.values + place_of(task, &head, task->key.row, task->keys);
    const float *values = task->value.values + place_of(task, &head, task->value.row, task->keys);
    turn_keys(task, keys, head.keys);
    for (int64_t token = 0; token < task->keys; token++)
        memcpy(head.values + token * depth, values + token * task->value.row, depth * sizeof *values);
    return head;
}

/* Fill the queries of a piece and their scores, these with exp(score - the row's highest), and sums with the rows' sums. */
static void score(const Attention *task, const Head *head, int64_t first, int64_t size, float *sums) {
    int64_t depth = task->depth, row = task->query.row;
    const float *queries = task->query.values + place_of(task, head, row, task->queries) + first * row;
    float scale = 1.0f / sqrtf(depth);
    for (int64_t i = 0; i < size; i++) {
        for (int64_t c = 0; c < depth; c++)
            head->queries[i * depth + c] = queries[i * row + c] * scale;
        if (task->copy_biases)
            task->copy_biases(task, head, first + i, head->scores + i * task->stride);
    }
    product(task->sgemm, size, task->keys, depth, (Matrix){head->queries, depth, 0},
            (Matrix){head->keys, task->stride, 0}, task->copy_biases != NULL, head->scores, task->stride);
    for (int64_t i = 0; i < size; i++) {
        float *scores = head->scores + i * task->stride;
        sums[i] = exponentiate(scores, task->keys, highest_of(scores, task->keys));
    }
}

/* Items are pieces of all heads of all samples. */
static void attention_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Attention *task = argument;
    int64_t depth = task->depth, channels = task->heads * depth, pieces = pieces_of(task);
    Head head = {0};
    float sums[QUERIES];
    for (int64_t item = begin; item < end; item++) {
        if (item == begin || item % pieces == 0)
            head = head_at(task, item / pieces, worker);
        int64_t first = item % pieces * QUERIES, size = size_of_piece(task, first);
        score(task, &head, first, size, sums);
        float *out = task->out + place_of(task, &head, channels, task->queries) + first * channels;
        product(task->sgemm, size, depth, task->keys, (Matrix){head.scores, task->stride, 0},
                (Matrix){head.values, depth, 0}, 0, out, channels);
        for (int64_t i = 0; i < size; i++)
            scale_row(out + i * channels, depth, 1.0f / sums[i]);
    }
}

static void piece_grad(const Attention *task, const Head *head, int64_t first, int64_t size) {
    int64_t depth = task->depth, keys = task->keys, stride = task->stride, channels = task->heads * depth;
    int64_t at = place_of(task, head, channels, task->queries) + first * channels;
    Matrix queries = {head->queries, depth, 0}, out_grad = {task->out_grad + at, channels, 0};
    float sums[QUERIES];
    score(task, head, first, size, sums);
    for (int64_t i = 0; i < size; i++)
        scale_row(head->scores + i * stride, keys, 1.0f / sums[i]);
    product(task->sgemm, size, keys, depth, out_grad, (Matrix){head->values, depth, 1}, 0, head->scores_grad, stride);
    for (int64_t i = 0; i < size; i++) {
        softmax_grad(head->scores + i * stride, head->scores_grad + i * stride, keys);
        if (task->add_biases_grad)
            task->add_biases_grad(task, head, first + i, head->scores_grad + i * stride);
    }

    int64_t row = task->query.row;
    float *query_grad = task->query.grad + place_of(task, head, row, task->queries) + first * row;
    product(task->sgemm, size, depth, keys, (Matrix){head->scores_grad, stride, 0}, (Matrix){head->keys, stride, 1}, 0,
            query_grad, row);
    for (int64_t i = 0; i < size; i++)
        scale_row(query_grad + i * row, depth, 1.0f / sqrtf(depth));
    product(task->sgemm, keys, depth, size, (Matrix){head->scores_grad, stride, 1}, queries, first > 0,
            head->keys_grad, depth);
    product(task->sgemm, keys, depth, size, (Matrix){head->scores, stride, 1}, out_grad, first > 0,
            head->values_grad, depth);
}

/* Items are heads: no two of them write to the same keys, values and biases. */
static void attention_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Attention *task = argument;
    int64_t depth = task->depth;
    for (int64_t item = begin; item < end; item++)
        for (int64_t sample = 0; sample < task->batch; sample++) {
            Head head = head_at(task, sample * task->heads + item, worker);
            for (int64_t first = 0; first < task->queries; first += QUERIES)
                piece_grad(task, &head, first, size_of_piece(task, first));
            float *keys_grad = task->key.grad + place_of(task, &head, task->key.row, task->keys);
            float *values_grad = task->value.grad + place_of(task, &head, task->value.row, task->keys);
            for (int64_t token = 0; token < task->keys; token++) {
                memcpy(keys_grad + token * task->key.row, head.keys_grad + token * depth, depth * sizeof *keys_grad);
                memcpy(values_grad + token * task->value.row, head.values_grad + token * depth,
                       depth * sizeof *values_grad);
            }
        }
}

/* Allocate the scratch of all workers, with room for gradients or without. NULL if there is no memory. */
static float *allocate_scratch(Attention *task, int with_gradients) {
    task->stride = (task->keys + LANES - 1) / LANES * LANES;
    task->scratch_size = QUERIES * task->depth + (1 + with_gradients) * (QUERIES + 2 * task->depth) * task->stride;
    task->scratch = malloc(workers() * task->scratch_size * sizeof *task->scratch + 1);
    return task->scratch;
}

static inline int64_t scores_of(const Attention *task) {
    return task->batch * task->heads * task->queries * task->keys;
}

/* A part that begins within a head copies its keys and values once more: where there are many heads, none does. */
static void attend(const Attention *task) {
    int64_t heads = task->batch * task->heads, items = heads * pieces_of(task), parts = parts_for(scores_of(task));
    int64_t most = heads < 16 ? items : heads;
    parallel_for(attention_part, task, items, parts < most ? parts : most);
}

static void attend_grad(const Attention *task) {
    parallel_for(attention_grad_part, task, task->heads, parts_for(scores_of(task)));
}

#endif
