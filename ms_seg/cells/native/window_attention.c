/* Self-attention within the windows of a map that may be shifted: Swin, arXiv:2103.14030. Nothing of the scores' size,
   and no window, is ever written: a head of a window gathers its tokens from the map and puts its result there. */

#include "product.h"
#include "softmax.h"

#define KINDS 4 /* of a shifted map's windows: 1 in the last column, 2 in the last row, 3 in both, 0 elsewhere */
#define FLOATS_OF_A_PLACE (int64_t)(sizeof(int64_t) / sizeof(float))

typedef struct {
    const float *qkv, *padding, *biases, *out_grad;
    float *out, *qkv_grad, *padding_grad, *biases_grad, *scratch;
    Sgemm sgemm;
    int64_t samples, height, width, down, across; /* of the map, tokens; of the map, windows */
    int64_t window, shift, heads, depth, kinds;
    int64_t tokens, stride; /* of a window; of rows that are as long as there are tokens */
    int64_t scratch_size;   /* of a worker */
} Windows;

/* One head of one window, in memory of the worker's own. */
typedef struct {
    int64_t sample, row, column, head;
    int64_t *places;                           /* of the window's tokens in a sample's map, or -1 for padding */
    float *queries, *values, *out;             /* (tokens, depth); queries are scaled */
    float *keys, *scores;                      /* (depth, stride), (tokens, stride) */
    float *scores_grad, *queries_grad, *keys_grad, *values_grad; /* as scores, and (tokens, depth) */
} Head;

static Head head_of(const Windows *task, int64_t window, int64_t head, int worker) { /* window: among all samples' */
    int64_t windows = task->down * task->across, small = task->tokens * task->depth;
    Head made = {.sample = window / windows, .row = window % windows / task->across, .column = window % task->across,
                 .head = head};
    float *begin = task->scratch + worker * task->scratch_size;
    made.places = (int64_t *)begin;
    made.queries = begin + task->tokens * FLOATS_OF_A_PLACE;
    made.values = made.queries + small;
    made.out = made.values + small;
    made.keys = made.out + small;
    made.scores = made.keys + task->depth * task->stride;
    made.scores_grad = made.scores + task->tokens * task->stride;
    made.queries_grad = made.scores_grad + task->tokens * task->stride;
    made.keys_grad = made.queries_grad + small;
    made.values_grad = made.keys_grad + small;
    return made;
}

static void find_places(const Windows *task, const Head *head) {
    int64_t *place = head->places;
    for (int64_t i = 0; i < task->window; i++)
        for (int64_t j = 0; j < task->window; j++) {
            int64_t y = (head->row * task->window + i + task->shift) % (task->down * task->window);
            int64_t x = (head->column * task->window + j + task->shift) % (task->across * task->window);
            *place++ = y < task->height && x < task->width ? y * task->width + x : -1;
        }
}

static inline int64_t number_of_biases(const Windows *task, const Head *head) {
    int64_t kind = task->kinds == 1 ? 0 : 2 * (head->row == task->down - 1) + (head->column == task->across - 1);
    return (kind * task->heads + head->head) * task->tokens * task->tokens;
}

/* Fill queries, keys and values, and the scores with their softmax. */
static void weigh(const Windows *task, const Head *head) {
    int64_t depth = task->depth, channels = task->heads * depth, tokens = task->tokens, stride = task->stride;
    const float *map = task->qkv + head->sample * task->height * task->width * 3 * channels;
    float scale = 1.0f / sqrtf(depth);
    for (int64_t token = 0; token < tokens; token++) {
        int64_t place = head->places[token];
        const float *query = (place < 0 ? task->padding : map + place * 3 * channels) + head->head * depth;
        const float *key = query + channels, *value = key + channels;
        for (int64_t c = 0; c < depth; c++) {
            head->queries[token * depth + c] = query[c] * scale;
            head->keys[c * stride + token] = key[c];
        }
        memcpy(head->values + token * depth, value, depth * sizeof *value);
    }
    const float *biases = task->biases + number_of_biases(task, head);
    for (int64_t query = 0; query < tokens; query++)
        memcpy(head->scores + query * stride, biases + query * tokens, tokens * sizeof *biases);
    product(task->sgemm, tokens, tokens, depth, (Matrix){head->queries, depth, 0}, (Matrix){head->keys, stride, 0}, 1,
            head->scores, stride);
    for (int64_t query = 0; query < tokens; query++) {
        float *scores = head->scores + query * stride;
        scale_row(scores, tokens, 1.0f / exponentiate(scores, tokens, highest_of(scores, tokens)));
    }
}

/* Items are the heads of all windows of all samples. */
static void window_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Windows *task = argument;
    int64_t depth = task->depth, channels = task->heads * depth, tokens = task->tokens;
    for (int64_t item = begin; item < end; item++) {
        Head head = head_of(task, item / task->heads, item % task->heads, worker);
        if (item == begin || head.head == 0)
            find_places(task, &head);
        weigh(task, &head);
        product(task->sgemm, tokens, depth, tokens, (Matrix){head.scores, task->stride, 0},
                (Matrix){head.values, depth, 0}, 0, head.out, depth);
        float *out = task->out + head.sample * task->height * task->width * channels + head.head * depth;
        for (int64_t token = 0; token < tokens; token++)
            if (head.places[token] >= 0)
                memcpy(out + head.places[token] * channels, head.out + token * depth, depth * sizeof *out);
    }
}

/* Those of a window's queries, keys and values, and its part of the biases'. */
static void window_grad(const Windows *task, const Head *head) {
    int64_t depth = task->depth, channels = task->heads * depth, tokens = task->tokens, stride = task->stride;
    weigh(task, head);
    const float *out_grad = task->out_grad + head->sample * task->height * task->width * channels + head->head * depth;
    for (int64_t token = 0; token < tokens; token++) {
        float *row = head->out + token * depth; /* nothing is asked of what padding attends to */
        if (head->places[token] < 0)
            memset(row, 0, depth * sizeof *row);
        else
            memcpy(row, out_grad + head->places[token] * channels, depth * sizeof *row);
    }
    Matrix grads = {head->out, depth, 0}, scores_grad = {head->scores_grad, stride, 0};
    product(task->sgemm, tokens, tokens, depth, grads, (Matrix){head->values, depth, 1}, 0, head->scores_grad, stride);
    product(task->sgemm, tokens, depth, tokens, (Matrix){head->scores, stride, 1}, grads, 0, head->values_grad, depth);
    float *biases_grad = task->biases_grad + number_of_biases(task, head);
    for (int64_t query = 0; query < tokens; query++) {
        float *restrict row = head->scores_grad + query * stride, *restrict sum = biases_grad + query * tokens;
        softmax_grad(head->scores + query * stride, row, tokens);
        for (int64_t key = 0; key < tokens; key++)
            sum[key] += row[key];
    }
    product(task->sgemm, tokens, depth, tokens, scores_grad, (Matrix){head->keys, stride, 1}, 0, head->queries_grad,
            depth);
    product(task->sgemm, tokens, depth, tokens, (Matrix){head->scores_grad, stride, 1},
            (Matrix){head->queries, depth, 0}, 0, head->keys_grad, depth);
    for (int64_t token = 0; token < tokens; token++)
        scale_row(head->queries_grad + token * depth, depth, 1.0f / sqrtf(depth));
}

/* Items are heads: no two of them write to the same biases and channels. */
static void window_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Windows *task = argument;
    int64_t depth = task->depth, channels = task->heads * depth, all = task->samples * task->down * task->across;
    for (int64_t number = begin; number < end; number++) {
        for (int64_t kind = 0; kind < task->kinds; kind++)
            memset(task->biases_grad + (kind * task->heads + number) * task->tokens * task->tokens, 0,
                   task->tokens * task->tokens * sizeof *task->biases_grad);
        for (int part = 0; part < 3; part++)
            memset(task->padding_grad + part * channels + number * depth, 0, depth * sizeof *task->padding_grad);
        for (int64_t window = 0; window < all; window++) {
            Head head = head_of(task, window, number, worker);
            find_places(task, &head);
            window_grad(task, &head);
            float *map = task->qkv_grad + head.sample * task->height * task->width * 3 * channels;
            const float *grads[3] = {head.queries_grad, head.keys_grad, head.values_grad};
            for (int64_t token = 0; token < task->tokens; token++)
                for (int part = 0; part < 3; part++) {
                    int64_t place = head.places[token], channel = part * channels + number * depth;
                    if (place >= 0)
                        memcpy(map + place * 3 * channels + channel, grads[part] + token * depth, depth * sizeof *map);
                    for (int64_t c = 0; place < 0 && c < depth; c++)
                        task->padding_grad[channel + c] += grads[part][token * depth + c];
                }
        }
    }
}

/* Fill `task` from the first four arrays; the fifth is the output, or its gradient. */
static Status read_inputs(const int *ranks, int64_t **shapes, void **params, Windows *task) {
    if (ranks[0] != 4 || ranks[1] != 1 || ranks[2] != 3 || !same_shape(1, (int64_t[]){3}, ranks[3], shapes[3]) ||
        shapes[1][0] != shapes[0][3] || shapes[2][1] != shapes[2][2])
        return WRONG_SHAPE;
    const int32_t *numbers = params[3];
    int64_t window = numbers[0], shift = numbers[1], heads = numbers[2], channels = shapes[0][3] / 3;
    if (window < 1 || window > (1 << 15) || shift < 0 || shift >= window || heads < 1)
        return WRONG_INDEX;
    int64_t kinds = shift ? KINDS : 1;
    if (shapes[2][1] != window * window || shapes[2][0] != kinds * heads || channels < 1 ||
        shapes[0][3] != 3 * channels || channels % heads)
        return WRONG_INDEX;
    int64_t height = shapes[0][1], width = shapes[0][2];
    *task = (Windows){.qkv = params[0], .padding = params[1], .biases = params[2], .sgemm = find_sgemm(),
                      .samples = shapes[0][0], .height = height, .width = width,
                      .down = (height + window - 1) / window, .across = (width + window - 1) / window,
                      .window = window, .shift = shift, .heads = heads, .depth = channels / heads, .kinds = kinds,
                      .tokens = window * window};
    task->stride = (task->tokens + LANES - 1) / LANES * LANES;
    task->scratch_size = task->tokens * (FLOATS_OF_A_PLACE + 6 * task->depth + 2 * task->stride) +
                         task->depth * task->stride;
    task->scratch_size = (task->scratch_size + LANES - 1) / LANES * LANES;
    if (!same_shape(4, (int64_t[]){shapes[0][0], height, width, channels}, ranks[4], shapes[4]))
        return WRONG_SHAPE;
    return DONE;
}

/* Run `work` on so many items with scratch for all workers. */
static Status run(Work work, Windows *task, int64_t items) {
    int64_t scores = task->samples * task->down * task->across * task->heads * task->tokens * task->tokens;
    int64_t parts = parts_for(scores);
    task->scratch = malloc(workers() * task->scratch_size * sizeof *task->scratch + 1);
    if (!task->scratch)
        return NO_MEMORY;
    parallel_for(work, task, items, parts < items ? parts : items);
    free(task->scratch);
    return DONE;
}

Shape window_attentionInferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 4 && shape.begin[3] > 0)
        shape.begin[3] /= 3;
    return shape;
}

/* qkv (N, H, W, 3 C): queries, keys and values, each head by head; padding (3 C), that of a token beyond the map;
   biases (heads, w^2, w^2), or (4 heads, w^2, w^2) if there is a shift, by the kinds of windows; numbers int32 (3): w, the
   shift and heads -> (N, H, W, C).

   The map is padded to whole windows of w x w tokens, right and bottom, and shifted up and left, cyclically. A head
   computes softmax(query key^T / sqrt(D) + biases) value in each window. */
int window_attention(ARGUMENTS) {
    if (!types_are("fffif", count, types))
        return WRONG_TYPE;
    Windows task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    task.out = params[4];
    return run(window_part, &task, task.samples * task.down * task.across * task.heads);
}

/* qkv, padding, biases, numbers, gradient of the output -> gradients of qkv, padding and biases. */
int window_attention_grad(ARGUMENTS) {
    if (!types_are("fffiffff", count, types))
        return WRONG_TYPE;
    Windows task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    for (int input = 0; input < 3; input++)
        if (!same_shape(ranks[input], shapes[input], ranks[5 + input], shapes[5 + input]))
            return WRONG_SHAPE;
    task.out_grad = params[4];
    task.qkv_grad = params[5], task.padding_grad = params[6], task.biases_grad = params[7];
    return run(window_grad_part, &task, task.heads);
}
