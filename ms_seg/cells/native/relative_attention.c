/* Self-attention with a table of relative positions (BEiT, arXiv:2106.08254), in one pass: a few queries of one head at
   a time, so that their scores stay in the cache and nothing of the size (heads, L, L) is ever written. */

#include "product.h"
#include "softmax.h"

#define QUERIES 128  /* of a piece */
#define CLASS_ROWS 3 /* of the table: of the class token as query, as key, as both */

typedef struct {
    const float *qkv, *out_grad;
    float *biases, *biases_grad; /* (heads, rows), those of patches in reverse: see bias_runs */
    float *out, *qkv_grad, *scratch;
    Sgemm sgemm;
    int64_t batch, length, heads, depth, height, width, rows;
    int64_t stride;       /* of rows that are as long as there are tokens */
    int64_t scratch_size; /* of a part */
} Attention;

/* One head of one sample. Its keys and values are copied to stand close together: a product that reads them where they
   are, each in a page of memory of its own, takes half as long again. */
typedef struct {
    int64_t sample, number;
    float *keys, *values;                         /* (depth, stride) and (length, depth) */
    float *queries, *scores;                      /* of a piece: (QUERIES, depth), scaled, and (QUERIES, stride) */
    float *scores_grad, *keys_grad, *values_grad; /* (QUERIES, stride), (length, depth), (length, depth) */
} Head;

static inline int64_t pieces_of(const Attention *task) { return (task->length + QUERIES - 1) / QUERIES; }

static inline int64_t size_of_piece(const Attention *task, int64_t first) {
    return task->length - first < QUERIES ? task->length - first : QUERIES;
}

/* Where in qkv, or its gradient, the first token's query (0), key (1) or value (2) is; the next token's is 3 C away. */
static inline int64_t place_of(const Attention *task, const Head *head, int which) {
    int64_t channels = task->heads * task->depth;
    return (head->sample * task->length * 3 + which) * channels + head->number * task->depth;
}

static Head head_at(const Attention *task, int64_t number, int part) { /* number: among the heads of all samples */
    int64_t depth = task->depth, row = 3 * task->heads * depth;
    Head head = {.sample = number / task->heads, .number = number % task->heads};
    head.keys = task->scratch + part * task->scratch_size;
    head.values = head.keys + depth * task->stride;
    head.queries = head.values + depth * task->stride;
    head.scores = head.queries + QUERIES * depth;
    if (task->qkv_grad) {
        head.scores_grad = head.scores + QUERIES * task->stride;
        head.keys_grad = head.scores_grad + QUERIES * task->stride;
        head.values_grad = head.keys_grad + depth * task->stride;
    }
    const float *keys = task->qkv + place_of(task, &head, 1), *values = task->qkv + place_of(task, &head, 2);
    for (int64_t token = 0; token < task->length; token++) {
        for (int64_t c = 0; c < depth; c++)
            head.keys[c * task->stride + token] = keys[token * row + c];
        memcpy(head.values + token * depth, values + token * row, depth * sizeof *values);
    }
    return head;
}

/* Where in a head's biases those of a patch's first row of keys begin. The biases of patches are in reverse order, so
   that the offset from a query to its keys grows with the keys; the next row of keys is 2 width - 1 further. */
static inline int64_t bias_runs(const Attention *task, int64_t query) {
    int64_t y = (query - 1) / task->width, x = (query - 1) % task->width;
    return (task->height - 1 - y) * (2 * task->width - 1) + task->width - 1 - x;
}

static void copy_biases(const Attention *task, int64_t head, int64_t query, float *out) {
    const float *biases = task->biases + head * task->rows, *of_class = biases + task->rows - CLASS_ROWS;
    out[0] = of_class[query ? 1 : 2];
    if (!query) {
        for (int64_t key = 1; key < task->length; key++)
            out[key] = of_class[0];
        return;
    }
    const float *run = biases + bias_runs(task, query);
    for (int64_t y = 0; y < task->height; y++, run += 2 * task->width - 1)
        memcpy(out + 1 + y * task->width, run, task->width * sizeof *run);
}

static void add_biases_grad(const Attention *task, int64_t head, int64_t query, const float *scores_grad) {
    float *grad = task->biases_grad + head * task->rows, *of_class = grad + task->rows - CLASS_ROWS;
    of_class[query ? 1 : 2] += scores_grad[0];
    if (!query) {
        for (int64_t key = 1; key < task->length; key++)
            of_class[0] += scores_grad[key];
        return;
    }
    float *run = grad + bias_runs(task, query);
    for (int64_t y = 0; y < task->height; y++, run += 2 * task->width - 1)
        for (int64_t x = 0; x < task->width; x++)
            run[x] += scores_grad[1 + y * task->width + x];
}

static inline float highest_of(const float *row, int64_t keys) { /* which NaN is not */
    float lanes[LANES], highest = -INFINITY;
    for (int lane = 0; lane < LANES; lane++)
        lanes[lane] = -INFINITY;
    int64_t k = 0;
    for (; k + LANES <= keys; k += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] = row[k + lane] > lanes[lane] ? row[k + lane] : lanes[lane];
    for (; k < keys; k++)
        highest = row[k] > highest ? row[k] : highest;
    for (int lane = 0; lane < LANES; lane++)
        highest = lanes[lane] > highest ? lanes[lane] : highest;
    return highest;
}

/* Fill the queries of a piece and their scores, these with exp(score - the row's highest), and sums with the rows' sums. */
static void score(const Attention *task, const Head *head, int64_t first, int64_t size, float *sums) {
    int64_t depth = task->depth, row = 3 * task->heads * depth;
    const float *queries = task->qkv + place_of(task, head, 0) + first * row;
    float scale = 1.0f / sqrtf(depth);
    for (int64_t i = 0; i < size; i++) {
        for (int64_t c = 0; c < depth; c++)
            head->queries[i * depth + c] = queries[i * row + c] * scale;
        copy_biases(task, head->number, first + i, head->scores + i * task->stride);
    }
    product(task->sgemm, size, task->length, depth, (Matrix){head->queries, depth, 0},
            (Matrix){head->keys, task->stride, 0}, 1, head->scores, task->stride);
    for (int64_t i = 0; i < size; i++) {
        float *scores = head->scores + i * task->stride;
        sums[i] = exponentiate(scores, task->length, highest_of(scores, task->length));
    }
}

/* Items are pieces of all heads of all samples. */
static void attention_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Attention *task = argument;
    int64_t depth = task->depth, channels = task->heads * depth, pieces = pieces_of(task);
    Head head = {0};
    float sums[QUERIES];
    for (int64_t item = begin; item < end; item++) {
        if (item == begin || item % pieces == 0)
            head = head_at(task, item / pieces, part);
        int64_t first = item % pieces * QUERIES, size = size_of_piece(task, first);
        score(task, &head, first, size, sums);
        float *out = task->out + (head.sample * task->length + first) * channels + head.number * depth;
        product(task->sgemm, size, depth, task->length, (Matrix){head.scores, task->stride, 0},
                (Matrix){head.values, depth, 0}, 0, out, channels);
        for (int64_t i = 0; i < size; i++)
            scale_row(out + i * channels, depth, 1.0f / sums[i]);
    }
}

/* scores_grad (length), the gradient of the softmax, becomes that of the scores; weights are the softmax. */
static inline void softmax_grad(const float *restrict weights, float *restrict scores_grad, int64_t keys) {
    float mean = 0;
    for (int64_t k = 0; k < keys; k++)
        mean += weights[k] * scores_grad[k];
    for (int64_t k = 0; k < keys; k++)
        scores_grad[k] = weights[k] * (scores_grad[k] - mean);
}

static void piece_grad(const Attention *task, const Head *head, int64_t first, int64_t size) {
    int64_t depth = task->depth, length = task->length, stride = task->stride, channels = task->heads * depth;
    int64_t at = (head->sample * length + first) * channels + head->number * depth;
    Matrix queries = {head->queries, depth, 0}, out_grad = {task->out_grad + at, channels, 0};
    float sums[QUERIES];
    score(task, head, first, size, sums);
    for (int64_t i = 0; i < size; i++)
        scale_row(head->scores + i * stride, length, 1.0f / sums[i]);
    product(task->sgemm, size, length, depth, out_grad, (Matrix){head->values, depth, 1}, 0, head->scores_grad, stride);
    for (int64_t i = 0; i < size; i++) {
        softmax_grad(head->scores + i * stride, head->scores_grad + i * stride, length);
        add_biases_grad(task, head->number, first + i, head->scores_grad + i * stride);
    }

    float *query_grad = task->qkv_grad + place_of(task, head, 0) + first * 3 * channels;
    product(task->sgemm, size, depth, length, (Matrix){head->scores_grad, stride, 0}, (Matrix){head->keys, stride, 1},
            0, query_grad, 3 * channels);
    for (int64_t i = 0; i < size; i++)
        scale_row(query_grad + i * 3 * channels, depth, 1.0f / sqrtf(depth));
    product(task->sgemm, length, depth, size, (Matrix){head->scores_grad, stride, 1}, queries, first > 0,
            head->keys_grad, depth);
    product(task->sgemm, length, depth, size, (Matrix){head->scores, stride, 1}, out_grad, first > 0,
            head->values_grad, depth);
}

/* Items are heads: no two of them write to the same keys, values and biases. */
static void attention_grad_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Attention *task = argument;
    int64_t depth = task->depth, row = 3 * task->heads * depth;
    for (int64_t item = begin; item < end; item++)
        for (int64_t sample = 0; sample < task->batch; sample++) {
            Head head = head_at(task, sample * task->heads + item, part);
            for (int64_t first = 0; first < task->length; first += QUERIES)
                piece_grad(task, &head, first, size_of_piece(task, first));
            float *keys_grad = task->qkv_grad + place_of(task, &head, 1);
            float *values_grad = task->qkv_grad + place_of(task, &head, 2);
            for (int64_t token = 0; token < task->length; token++) {
                memcpy(keys_grad + token * row, head.keys_grad + token * depth, depth * sizeof *keys_grad);
                memcpy(values_grad + token * row, head.values_grad + token * depth, depth * sizeof *values_grad);
            }
        }
}

/* From the table (rows, heads) to biases (heads, rows), or back. */
static void turn_table(const Attention *task, float *table, float *biases, int back) {
    int64_t patches = task->rows - CLASS_ROWS;
    for (int64_t row = 0; row < task->rows; row++)
        for (int64_t head = 0; head < task->heads; head++) {
            float *in_table = table + row * task->heads + head;
            float *turned = biases + head * task->rows + (row < patches ? patches - 1 - row : row);
            *(back ? in_table : turned) = *(back ? turned : in_table);
        }
}

/* Fill `task` from the first three arrays. */
static Status read_inputs(const int *ranks, int64_t **shapes, void **params, Attention *task) {
    if (ranks[0] != 3 || ranks[1] != 2 || !same_shape(1, (int64_t[]){2}, ranks[2], shapes[2]) || shapes[1][1] < 1 ||
        shapes[0][2] < 1 || shapes[0][2] % (3 * shapes[1][1]))
        return WRONG_SHAPE;
    *task = (Attention){.qkv = params[0], .sgemm = find_sgemm()};
    task->batch = shapes[0][0], task->length = shapes[0][1], task->rows = shapes[1][0], task->heads = shapes[1][1];
    task->depth = shapes[0][2] / 3 / task->heads;
    task->stride = (task->length + LANES - 1) / LANES * LANES;
    const int32_t *grid = params[2];
    task->height = grid[0], task->width = grid[1];
    if (task->height < 1 || task->width < 1 || 1 + task->height * task->width != task->length ||
        (2 * task->height - 1) * (2 * task->width - 1) + CLASS_ROWS != task->rows)
        return WRONG_INDEX;
    return DONE;
}

/* Allocate the biases and the scratch of parts, once, or twice for gradients as well. */
static float *allocate(Attention *task, int parts, int times) {
    int64_t table = task->rows * task->heads;
    task->scratch_size = QUERIES * task->depth + times * (QUERIES + 2 * task->depth) * task->stride;
    float *memory = malloc((times * table + parts * task->scratch_size) * sizeof *memory);
    task->biases = memory, task->biases_grad = memory + table, task->scratch = memory + times * table;
    return memory;
}

static int64_t scores_of(const Attention *task) {
    return task->batch * task->heads * task->length * task->length;
}

Shape relative_attentionInferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 3 && shape.begin[2] > 0)
        shape.begin[2] /= 3;
    return shape;
}

/* qkv (N, L, 3 C): queries, keys and values, each head by head; table (rows, heads); grid int32 (2), the height and the
   width of the patches -> (N, L, C). The first token is the class token, and L is 1 + height width.

   To the score of a query and a key, both patches, is added row (yq - yk + height - 1) (2 width - 1) + xq - xk + width - 1
   of the table; the last three rows are for the class token as query, as key, and as both. */
int relative_attention(ARGUMENTS) {
    if (!types_are("ffif", count, types))
        return WRONG_TYPE;
    Attention task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    if (!same_shape(3, (int64_t[]){task.batch, task.length, shapes[0][2] / 3}, ranks[3], shapes[3]))
        return WRONG_SHAPE;
    int parts = parts_for(scores_of(&task));
    float *memory = allocate(&task, parts, 1);
    if (!memory)
        return NO_MEMORY;
    task.out = params[3];
    turn_table(&task, params[1], task.biases, 0);
    parallel_for(attention_part, &task, task.batch * task.heads * pieces_of(&task), parts);
    free(memory);
    return DONE;
}

/* qkv, table, grid, gradient of the output -> gradients of qkv and table. The scores are computed once more. */
int relative_attention_grad(ARGUMENTS) {
    if (!types_are("ffifff", count, types))
        return WRONG_TYPE;
    Attention task;
    Status status = read_inputs(ranks, shapes, params, &task);
    if (status)
        return status;
    if (!same_shape(3, (int64_t[]){task.batch, task.length, shapes[0][2] / 3}, ranks[3], shapes[3]) ||
        !same_shape(3, shapes[0], ranks[4], shapes[4]) || !same_shape(2, shapes[1], ranks[5], shapes[5]))
        return WRONG_SHAPE;
    int parts = parts_for(scores_of(&task));
    float *memory = allocate(&task, parts, 2);
    if (!memory)
        return NO_MEMORY;
    task.out_grad = params[3], task.qkv_grad = params[4];
    turn_table(&task, params[1], task.biases, 0);
    memset(task.biases_grad, 0, task.rows * task.heads * sizeof *task.biases_grad);
    parallel_for(attention_grad_part, &task, task.heads, parts);
    turn_table(&task, params[5], task.biases_grad, 1);
    free(memory);
    return DONE;
}
