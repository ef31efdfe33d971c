/* Self-attention with a table of relative positions: BEiT, arXiv:2106.08254. */

#include "attention.h"

#define CLASS_ROWS 3 /* of the table: of the class token as query, as key, as both */

typedef struct {
    float *biases, *grad; /* (heads, rows), those of patches in reverse: see bias_runs */
    int64_t height, width, rows;
} Table;

/* Where in a head's biases those of a patch's first row of keys begin. The biases of patches are in reverse order, so
   that the offset from a query to its keys grows with the keys; the next row of keys is 2 width - 1 further. */
static inline int64_t bias_runs(const Table *table, int64_t query) {
    int64_t y = (query - 1) / table->width, x = (query - 1) % table->width;
    return (table->height - 1 - y) * (2 * table->width - 1) + table->width - 1 - x;
}

static void copy_biases(const Attention *task, const Head *head, int64_t query, float *out) {
    const Table *table = task->biases;
    const float *biases = table->biases + head->number * table->rows, *of_class = biases + table->rows - CLASS_ROWS;
    out[0] = of_class[query ? 1 : 2];
    if (!query) {
        for (int64_t key = 1; key < task->keys; key++)
            out[key] = of_class[0];
        return;
    }
    const float *run = biases + bias_runs(table, query);
    for (int64_t y = 0; y < table->height; y++, run += 2 * table->width - 1)
        memcpy(out + 1 + y * table->width, run, table->width * sizeof *run);
}

static void add_biases_grad(const Attention *task, const Head *head, int64_t query, const float *scores_grad) {
    const Table *table = task->biases;
    float *grad = table->grad + head->number * table->rows, *of_class = grad + table->rows - CLASS_ROWS;
    of_class[query ? 1 : 2] += scores_grad[0];
    if (!query) {
        for (int64_t key = 1; key < task->keys; key++)
            of_class[0] += scores_grad[key];
        return;
    }
    float *run = grad + bias_runs(table, query);
    for (int64_t y = 0; y < table->height; y++, run += 2 * table->width - 1)
        for (int64_t x = 0; x < table->width; x++)
            run[x] += scores_grad[1 + y * table->width + x];
}

/* From the table (rows, heads) to biases (heads, rows), or back. */
static void turn_table(const Attention *task, const Table *table, float *values, float *biases, int back) {
    int64_t patches = table->rows - CLASS_ROWS;
    for (int64_t row = 0; row < table->rows; row++)
        for (int64_t head = 0; head < task->heads; head++) {
            float *in_table = values + row * task->heads + head;
            float *turned = biases + head * table->rows + (row < patches ? patches - 1 - row : row);
            *(back ? in_table : turned) = *(back ? turned : in_table);
        }
}

/* Fill `task` and `table` from the first three arrays. */
static Status read_inputs(const int *ranks, int64_t **shapes, void **params, Attention *task, Table *table) {
    if (ranks[0] != 3 || ranks[1] != 2 || !same_shape(1, (int64_t[]){2}, ranks[2], shapes[2]) || shapes[1][1] < 1 ||
        shapes[0][2] < 1 || shapes[0][2] % (3 * shapes[1][1]))
        return WRONG_SHAPE;
    int64_t row = shapes[0][2], channels = row / 3, length = shapes[0][1], heads = shapes[1][1];
    const float *qkv = params[0];
    const int32_t *grid = params[2];
    *table = (Table){.height = grid[0], .width = grid[1], .rows = shapes[1][0]};
    if (table->height < 1 || table->width < 1 || 1 + table->height * table->width != length ||
        (2 * table->height - 1) * (2 * table->width - 1) + CLASS_ROWS != table->rows)
        return WRONG_INDEX;
    *task = (Attention){.query = {.values = qkv, .row = row}, .key = {.values = qkv + channels, .row = row},
                        .value = {.values = qkv + 2 * channels, .row = row}, .sgemm = find_sgemm(),
                        .batch = shapes[0][0], .queries = length, .keys = length, .heads = heads,
                        .depth = channels / heads, .copy_biases = copy_biases, .biases = table};
    return DONE;
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
    Table table;
    Status status = read_inputs(ranks, shapes, params, &task, &table);
    if (status)
        return status;
    if (!same_shape(3, (int64_t[]){task.batch, task.queries, shapes[0][2] / 3}, ranks[3], shapes[3]))
        return WRONG_SHAPE;
    table.biases = malloc(table.rows * task.heads * sizeof *table.biases);
    if (!table.biases || !allocate_scratch(&task, 0)) {
        free(table.biases);
        return NO_MEMORY;
    }
    task.out = params[3];
    turn_table(&task, &table, params[1], table.biases, 0);
    attend(&task);
    free(task.scratch);
    free(table.biases);
    return DONE;
}

/* qkv, table, grid, gradient of the output -> gradients of qkv and table. */
int relative_attention_grad(ARGUMENTS) {
    if (!types_are("ffifff", count, types))
        return WRONG_TYPE;
    Attention task;
    Table table;
    Status status = read_inputs(ranks, shapes, params, &task, &table);
    if (status)
        return status;
    if (!same_shape(3, (int64_t[]){task.batch, task.queries, shapes[0][2] / 3}, ranks[3], shapes[3]) ||
        !same_shape(3, shapes[0], ranks[4], shapes[4]) || !same_shape(2, shapes[1], ranks[5], shapes[5]))
        return WRONG_SHAPE;
    int64_t size_of_table = table.rows * task.heads;
    table.biases = calloc(2 * size_of_table, sizeof *table.biases);
    if (!table.biases || !allocate_scratch(&task, 1)) {
        free(table.biases);
        return NO_MEMORY;
    }
    float *qkv_grad = params[4];
    table.grad = table.biases + size_of_table;
    task.out_grad = params[3], task.add_biases_grad = add_biases_grad;
    task.query.grad = qkv_grad, task.key.grad = qkv_grad + shapes[0][2] / 3;
    task.value.grad = qkv_grad + shapes[0][2] / 3 * 2;
    turn_table(&task, &table, params[1], table.biases, 0);
    attend_grad(&task);
    turn_table(&task, &table, params[5], table.grad, 1);
    free(task.scratch);
    free(table.biases);
    return DONE;
}
