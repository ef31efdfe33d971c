/* Self-attention within the windows of a map that may be shifted: Swin, arXiv:2103.14030. Nothing of the scores' size,
   and no window, is ever written: a head of a window gathers its tokens from the map and puts its result there. */

#include "product.h"
#include "softmax.h"

#define KINDS 4 /* of a shifted map's windows: 1 in the last column, 2 in the last row, 3 in both, 0 elsewhere */
#define FLOATS_OF_A_PLACE (int64_t)(sizeof(int64_t) / sizeof(float))

typedef struct {
    const float *qkv, *padding, *biases;
    float *out, *scratch;
    Sgemm sgemm;
    int64_t height, width, down, across; /* of the map, tokens; of the map, windows */
    int64_t window, shift, heads, depth, kinds;
    int64_t tokens, stride;     /* of a window; of rows that are as long as there are tokens */
    int64_t scratch_size;       /* of a worker */
} Windows;

typedef struct { /* of a worker, for one head of one window */
    int64_t *places;                /* of the window's tokens in a sample's map, or -1 for padding */
    float *queries, *values, *out;  /* (tokens, depth) */
    float *keys, *scores;           /* (depth, stride), (tokens, stride) */
} Scratch;

static Scratch scratch_of(const Windows *task, int worker) {
    Scratch scratch;
    float *begin = task->scratch + worker * task->scratch_size;
    scratch.places = (int64_t *)begin;
    scratch.queries = begin + task->tokens * FLOATS_OF_A_PLACE;
    scratch.values = scratch.queries + task->tokens * task->depth;
    scratch.out = scratch.values + task->tokens * task->depth;
    scratch.keys = scratch.out + task->tokens * task->depth;
    scratch.scores = scratch.keys + task->depth * task->stride;
    return scratch;
}

static void find_places(const Windows *task, int64_t row, int64_t column, int64_t *places) {
    for (int64_t i = 0; i < task->window; i++)
        for (int64_t j = 0; j < task->window; j++) {
            int64_t y = (row * task->window + i + task->shift) % (task->down * task->window);
            int64_t x = (column * task->window + j + task->shift) % (task->across * task->window);
            *places++ = y < task->height && x < task->width ? y * task->width + x : -1;
        }
}

/* Items are the heads of all windows of all samples. */
static void window_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Windows *task = argument;
    int64_t depth = task->depth, channels = task->heads * depth, tokens = task->tokens, stride = task->stride;
    Scratch scratch = scratch_of(task, worker);
    float scale = 1.0f / sqrtf(depth);
    for (int64_t item = begin; item < end; item++) {
        int64_t head = item % task->heads, number = item / task->heads, windows = task->down * task->across;
        int64_t sample = number / windows, row = number % windows / task->across, column = number % task->across;
        if (item == begin || head == 0)
            find_places(task, row, column, scratch.places);
        const float *map = task->qkv + sample * task->height * task->width * 3 * channels;
        for (int64_t token = 0; token < tokens; token++) {
            int64_t place = scratch.places[token];
            const float *query = (place < 0 ? task->padding : map + place * 3 * channels) + head * depth;
            const float *key = query + channels, *value = key + channels;
            for (int64_t c = 0; c < depth; c++) {
                scratch.queries[token * depth + c] = query[c] * scale;
                scratch.keys[c * stride + token] = key[c];
            }
            memcpy(scratch.values + token * depth, value, depth * sizeof *value);
        }
        int64_t kind = task->kinds == 1 ? 0 : 2 * (row == task->down - 1) + (column == task->across - 1);
        const float *biases = task->biases + (kind * task->heads + head) * tokens * tokens;
        for (int64_t query = 0; query < tokens; query++)
            memcpy(scratch.scores + query * stride, biases + query * tokens, tokens * sizeof *biases);
        product(task->sgemm, tokens, tokens, depth, (Matrix){scratch.queries, depth, 0},
                (Matrix){scratch.keys, stride, 0}, 1, scratch.scores, stride);
        for (int64_t query = 0; query < tokens; query++) {
            float *scores = scratch.scores + query * stride;
            scale_row(scores, tokens, 1.0f / exponentiate(scores, tokens, highest_of(scores, tokens)));
        }
        product(task->sgemm, tokens, depth, tokens, (Matrix){scratch.scores, stride, 0},
                (Matrix){scratch.values, depth, 0}, 0, scratch.out, depth);
        float *out = task->out + sample * task->height * task->width * channels + head * depth;
        for (int64_t token = 0; token < tokens; token++)
            if (scratch.places[token] >= 0)
                memcpy(out + scratch.places[token] * channels, scratch.out + token * depth, depth * sizeof *out);
    }
}

/* Fill `task` from the inputs. */
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
                      .height = height, .width = width, .down = (height + window - 1) / window,
                      .across = (width + window - 1) / window, .window = window, .shift = shift, .heads = heads,
                      .depth = channels / heads, .kinds = kinds, .tokens = window * window};
    task->stride = (task->tokens + LANES - 1) / LANES * LANES;
    task->scratch_size = task->tokens * (FLOATS_OF_A_PLACE + 3 * task->depth + task->stride) + task->depth * task->stride;
    task->scratch_size = (task->scratch_size + LANES - 1) / LANES * LANES;
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
    int64_t channels = task.heads * task.depth;
    if (!same_shape(4, (int64_t[]){shapes[0][0], task.height, task.width, channels}, ranks[4], shapes[4]))
        return WRONG_SHAPE;
    task.out = params[4];
    task.scratch = malloc(workers() * task.scratch_size * sizeof *task.scratch + 1);
    if (!task.scratch)
        return NO_MEMORY;
    int64_t items = shapes[0][0] * task.down * task.across * task.heads, parts = parts_for(items * task.tokens * task.tokens);
    parallel_for(window_part, &task, items, parts < items ? parts : items);
    free(task.scratch);
    return DONE;
}
