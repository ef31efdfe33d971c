/* Maps of queries at the picture's size, with the arithmetic of resizing.py's Taps.blend, which is PyTorch's: along the
   columns and then along the rows, lower * (1 - weight) + upper * weight, the second product rounded to float32 and the
   rest in float64. Then, for masks, the sigmoid of queries.py. 100 masks of 200x272 at 800x1067, one core: 90 ms, in
   NumPy 1900 ms. */

#include "operator.h"

typedef struct { /* for each target position the two source positions beside it and the weight of the upper one */
    const int32_t *lower, *upper;
    const float *weight;
    int64_t count;
} Taps;

typedef struct {
    Taps columns, rows;
} Step;

typedef struct {
    const float *values;
    int64_t maps, height, width, step_of_map, step_of_row; /* of the values; steps in elements */
    const Step *steps;
    int64_t count; /* of steps */
    int sigmoid;
    float *out;
    float *scratch;
    int64_t scratch_of_worker;
} Resizing;

static inline float blend(float lower, float upper, float weight) {
    return (float)((double)lower * (double)(1.0f - weight) + (double)(upper * weight));
}

/* exp(x), rounded once: of a power of two, and of a polynomial on [-ln 2 / 2, ln 2 / 2]. */
static inline double exponential_of_double(double x) {
    x = x < -100 ? -100 : x;
    x = x > 100 ? 100 : x; /* beyond the range of float32 */
    double moved = x * 1.4426950408889634 + 6755399441055744.0; /* 1.5 * 2^52 moves the power into the last bits */
    double power = moved - 6755399441055744.0;
    double r = (x - power * 0.693147180369123816490) - power * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    union { double value; uint64_t bits; } scale = {moved};
    scale.bits = (scale.bits + 1023) << 52;
    return p * scale.value;
}

static void sigmoid(float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        values[i] = 1.0f / (1.0f + (float)exponential_of_double(-(double)values[i]));
}

static void resize_columns(const float *in, int64_t height, int64_t step_of_row, Taps taps, float *restrict out) {
    for (int64_t y = 0; y < height; y++, in += step_of_row, out += taps.count)
        for (int64_t x = 0; x < taps.count; x++)
            out[x] = blend(in[taps.lower[x]], in[taps.upper[x]], taps.weight[x]);
}

static void resize_rows(const float *in, int64_t width, Taps taps, float *restrict out) {
    for (int64_t y = 0; y < taps.count; y++, out += width) {
        const float *restrict lower = in + taps.lower[y] * width, *restrict upper = in + taps.upper[y] * width;
        float weight = taps.weight[y];
        for (int64_t x = 0; x < width; x++)
            out[x] = blend(lower[x], upper[x], weight);
    }
}

static void maps_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Resizing *task = argument;
    Step last = task->steps[task->count - 1];
    int64_t size = last.rows.count * last.columns.count;
    for (int64_t map = begin; map < end; map++) {
        const float *in = task->values + map * task->step_of_map;
        int64_t height = task->height, step_of_row = task->step_of_row;
        float *free = task->scratch + worker * task->scratch_of_worker, *out = task->out + map * size;
        for (int64_t i = 0; i < task->count; i++) {
            Step step = task->steps[i];
            float *wide = free, *both = i == task->count - 1 ? out : wide + height * step.columns.count;
            resize_columns(in, height, step_of_row, step.columns, wide);
            resize_rows(wide, step.columns.count, step.rows, both);
            free = both + step.rows.count * step.columns.count;
            in = both, height = step.rows.count, step_of_row = step.columns.count;
        }
        if (task->sigmoid)
            sigmoid(out, size);
    }
}

/* Values (maps, height, width), the columns side by side -> maps of the last step's size.

   sizes: maps, height, width, the steps from a map and from a row to the next, the number of steps (1 or 2), and for
   each step how many columns and rows it makes. indices, weights: for each step lower, upper and weight along the
   columns, then along the rows. Who calls sees to it that they point into their source. out: (maps, rows, columns) */
int resize_maps(const float *values, const int64_t *sizes, const int32_t **indices, const float **weights, int sigmoid,
                float *out) {
    Step steps[2];
    Resizing task = {
        .values = values, .maps = sizes[0], .height = sizes[1], .width = sizes[2], .step_of_map = sizes[3],
        .step_of_row = sizes[4], .count = sizes[5], .steps = steps, .sigmoid = sigmoid, .out = out,
    };
    int64_t height = task.height, work = 0;
    for (int64_t i = 0; i < task.count; i++) {
        steps[i].columns = (Taps){indices[4 * i], indices[4 * i + 1], weights[2 * i], sizes[6 + 2 * i]};
        steps[i].rows = (Taps){indices[4 * i + 2], indices[4 * i + 3], weights[2 * i + 1], sizes[7 + 2 * i]};
        work += (height + steps[i].rows.count) * steps[i].columns.count;
        height = steps[i].rows.count;
    }
    task.scratch_of_worker = work;
    task.scratch = malloc(workers() * work * sizeof *task.scratch);
    if (!task.scratch)
        return NO_MEMORY;
    parallel_for(maps_part, &task, task.maps, parts_for(task.maps * work));
    free(task.scratch);
    return DONE;
}
