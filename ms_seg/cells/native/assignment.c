/* The linear assignment problem: of rows and columns, the pairs whose costs are the least together. */

#include "operator.h"

static const double MAX_COST = 1e9; /* what NaN and larger costs count as */
enum { MAX_SIDE = 1 << 24 };        /* indices are exact in float32 */

typedef struct {
    const float *costs;
    const int32_t *targets;
    float *pairs;
    double *memory; /* of each worker */
    int64_t samples, queries, columns, needed;
} Assignment;

/* Costs (n, m) with n <= m -> the row of each column, counted from 1, or 0: by shortest augmenting paths, a row after
   the other (H. W. Kuhn's Hungarian method with potentials), O(n^2 m). `row` has m + 1 places, `memory` 3 (m + 1) + n
   + 1, `way` 2 (m + 1); those at 0 stand for the row that is to be assigned. */
static void assign(const double *costs, int64_t n, int64_t m, int64_t *row, double *memory, int64_t *way) {
    double *of_column = memory, *least = of_column + m + 1, *of_row = least + m + 1;
    int64_t *visited = way + m + 1;
    memset(of_column, 0, (m + 1) * sizeof *of_column);
    memset(of_row, 0, (n + 1) * sizeof *of_row);
    memset(row, 0, (m + 1) * sizeof *row);
    for (int64_t i = 1; i <= n; i++) {
        int64_t column = 0;
        row[0] = i;
        for (int64_t j = 0; j <= m; j++)
            least[j] = INFINITY, visited[j] = 0;
        do {
            int64_t at = row[column], next = 0;
            double delta = INFINITY;
            visited[column] = 1;
            for (int64_t j = 1; j <= m; j++) {
                if (visited[j])
                    continue;
                double reduced = costs[(at - 1) * m + j - 1] - of_row[at] - of_column[j];
                if (reduced < least[j])
                    least[j] = reduced, way[j] = column;
                if (least[j] < delta)
                    delta = least[j], next = j;
            }
            for (int64_t j = 0; j <= m; j++)
                if (visited[j])
                    of_row[row[j]] += delta, of_column[j] -= delta;
                else
                    least[j] -= delta;
            column = next;
        } while (row[column]);
        for (; column; column = way[column])
            row[column] = row[way[column]];
    }
}

static inline double clamped(float cost) {
    return !(cost < MAX_COST) ? MAX_COST : cost < -MAX_COST ? -MAX_COST : cost;
}

/* Items are samples. */
static void assignment_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Assignment *task = argument;
    int64_t queries = task->queries, columns = task->columns, longer = queries > columns ? queries : columns;
    double *costs = task->memory + worker * task->needed, *potentials = costs + queries * columns;
    int64_t *row = (int64_t *)(potentials + 3 * (longer + 1)), *way = row + longer + 1;
    int64_t *real = way + 2 * (longer + 1), *target_of = real + longer + 1;
    for (int64_t sample = begin; sample < end; sample++) {
        const float *from = task->costs + sample * queries * columns;
        int64_t count = 0, pair = 0;
        for (int64_t j = 0; j < columns; j++)
            if (task->targets[sample * columns + j] >= 0)
                real[count++] = j;
        int turned = count <= queries; /* the fewer are the rows */
        int64_t n = turned ? count : queries, m = turned ? queries : count;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < m; j++)
                costs[i * m + j] = clamped(turned ? from[j * columns + real[i]] : from[i * columns + real[j]]);
        assign(costs, n, m, row, potentials, way);
        for (int64_t query = 0; query < queries; query++)
            target_of[query] = -1;
        for (int64_t j = 1; j <= m; j++)
            if (row[j])
                target_of[turned ? j - 1 : row[j] - 1] = real[turned ? row[j] - 1 : j - 1];
        float *chosen = task->pairs + sample * columns, *matched = chosen + task->samples * columns;
        for (int64_t query = 0; query < queries; query++)
            if (target_of[query] >= 0)
                chosen[pair] = (float)query, matched[pair++] = (float)target_of[query];
        for (; pair < columns; pair++)
            chosen[pair] = matched[pair] = -1;
    }
}

Shape assignmentInferShape(int *ranks, int64_t **shapes, void *extra) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 3)
        shape.begin[0] = 2, shape.begin[1] = shapes[0][0];
    return shape;
}

/* costs (N, Q, M), targets (N, M) int32, negative where there is none -> in each sample the cheapest pairs together,
   (2, N, M): the queries in ascending order and the target of each, as many as there are of the fewer, then -1. NaN and
   costs beyond 1e9 count as 1e9, those below -1e9 as -1e9. */
int assignment(ARGUMENTS) {
    if (!types_are("fif", count, types))
        return WRONG_TYPE;
    if (ranks[0] != 3 || shapes[0][1] > MAX_SIDE || shapes[0][2] > MAX_SIDE)
        return WRONG_SHAPE;
    int64_t samples = shapes[0][0], queries = shapes[0][1], columns = shapes[0][2];
    if (!same_shape(2, (int64_t[]){samples, columns}, ranks[1], shapes[1]) ||
        !same_shape(3, (int64_t[]){2, samples, columns}, ranks[2], shapes[2]))
        return WRONG_SHAPE;
    Assignment task = {.costs = params[0], .targets = params[1], .pairs = params[2], .samples = samples,
                       .queries = queries, .columns = columns};
    task.needed = queries * columns + 8 * ((queries > columns ? queries : columns) + 1);
    task.memory = malloc(workers() * task.needed * sizeof *task.memory);
    if (!task.memory)
        return NO_MEMORY;
    parallel_for(assignment_part, &task, samples, parts_for(samples * queries * columns * 8));
    free(task.memory);
    return DONE;
}
