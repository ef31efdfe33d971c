/* The patches that a convolution looks at, side by side: with them it is a linear layer. */

#include "operator.h"

typedef struct {
    const float *x;
    float *out;
    int64_t samples, channels, height, width;
    int64_t pixel, channel; /* numbers of x from a pixel to the next, and from a channel to the next */
    int64_t kernel, stride, padding, down, across; /* down, across: of the grid of patches */
} Patches;

/* Where a patch's row begins in x, and which of its columns are within: from `first` to `end`, none beyond the edge. */
typedef struct {
    int64_t start, first, end;
} Run;

static inline Run run_of(const Patches *task, int64_t down, int64_t across, int64_t row) {
    int64_t y = down * task->stride - task->padding + row, x = across * task->stride - task->padding;
    Run run = {.start = y * task->width + x, .first = x < 0 ? -x : 0, .end = task->width - x};
    if (y < 0 || y >= task->height)
        run.end = 0;
    else if (run.end > task->kernel)
        run.end = task->kernel;
    return run;
}

/* A row of a patch, of one channel. pixel: from one to the next. */
static inline __attribute__((always_inline)) void copy_run(const float *restrict x, int64_t pixel, Run run,
                                                           int64_t kernel, float *restrict out) {
    int whole = run.first == 0 && run.end == kernel;
    for (int64_t column = 0; column < kernel; column++)
        out[column] = whole || (column >= run.first && column < run.end) ? x[(run.start + column) * pixel] : 0;
}

/* A row of patches. Of a map channel by channel: a patch has every channel in a page of its own, mostly a power of two
   apart, and they would drive each other out of the cache. Of tokens patch by patch. */
static inline __attribute__((always_inline)) void copy_patches(const Patches *task, const float *x, int64_t down,
                                                               int64_t kernel, float *out) {
    int64_t channels = task->channels, area = kernel * kernel;
    if (task->pixel == 1)
        for (int64_t c = 0; c < channels; c++, x += task->channel)
            for (int64_t row = 0; row < kernel; row++)
                for (int64_t across = 0; across < task->across; across++)
                    copy_run(x, 1, run_of(task, down, across, row), kernel,
                             out + (across * channels + c) * area + row * kernel);
    else
        for (int64_t across = 0; across < task->across; across++, out += channels * area)
            for (int64_t row = 0; row < kernel; row++) {
                Run run = run_of(task, down, across, row);
                for (int64_t c = 0; c < channels; c++)
                    copy_run(x + c, task->pixel, run, kernel, out + c * area + row * kernel);
            }
}

/* Items are rows of patches of all samples. */
static void patches_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Patches *task = argument;
    for (int64_t item = begin; item < end; item++) {
        int64_t down = item % task->down, kernel = task->kernel;
        const float *x = task->x + item / task->down * task->channels * task->height * task->width;
        float *out = task->out + item * task->across * task->channels * kernel * kernel;
        if (kernel == 7) /* a loop whose end is known is unrolled */
            copy_patches(task, x, down, 7, out);
        else if (kernel == 3)
            copy_patches(task, x, down, 3, out);
        else if (kernel == 2)
            copy_patches(task, x, down, 2, out);
        else
            copy_patches(task, x, down, kernel, out);
    }
}

/* Items are channels of all samples: patches overlap. */
static void patches_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Patches *task = argument; /* x is the gradient of the output, out that of x */
    int64_t kernel = task->kernel, area = kernel * kernel, patches = task->down * task->across;
    for (int64_t item = begin; item < end; item++) {
        float *out = task->out + item * task->height * task->width;
        const float *grad = task->x + (item / task->channels * patches * task->channels + item % task->channels) * area;
        memset(out, 0, task->height * task->width * sizeof *out);
        for (int64_t patch = 0; patch < patches; patch++, grad += task->channels * area)
            for (int64_t row = 0; row < kernel; row++) {
                Run run = run_of(task, patch / task->across, patch % task->across, row);
                for (int64_t column = run.first; column < run.end; column++)
                    out[run.start + column] += grad[row * kernel + column];
            }
    }
}

static inline int64_t patches_along(int64_t side, const int64_t *geometry) {
    return (side + 2 * (geometry[2] - 1) - geometry[0]) / geometry[1] + 1;
}

/* Fill the sizes of `task` from the shapes of x, whose axes `channels` and `first` are the channels' and the first of
   its sides, and of geometry; 0 if they do not fit. */
static int read_sizes(const int *ranks, int64_t **shapes, int channels, int first, Patches *task) {
    if (ranks[0] != 4 || ranks[1] != 3)
        return 0;
    const int64_t *x = shapes[0], *geometry = shapes[1];
    task->samples = x[0], task->channels = x[channels], task->height = x[first], task->width = x[first + 1];
    task->pixel = channels == 1 ? 1 : task->channels;
    task->channel = channels == 1 ? task->height * task->width : 1;
    task->kernel = geometry[0], task->stride = geometry[1], task->padding = geometry[2] - 1;
    if (task->channels < 1 || task->kernel < 1 || task->stride < 1 || task->padding < 0 ||
        task->height + 2 * task->padding < task->kernel || task->width + 2 * task->padding < task->kernel)
        return 0;
    task->down = patches_along(task->height, geometry), task->across = patches_along(task->width, geometry);
    return 1;
}

/* Whether an array holds the patches. */
static int are_patches(const Patches *task, int rank, const int64_t *shape) {
    int64_t size_of_patch = task->channels * task->kernel * task->kernel;
    return same_shape(4, (int64_t[]){task->samples, task->down, task->across, size_of_patch}, rank, shape);
}

static Shape patches_shape(int *ranks, int64_t **shapes, int channels, int first) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 4 && ranks[1] == 3 && shapes[1][1] > 0) {
        int64_t width = shapes[0][channels];
        for (int side = 0; side < 2; side++) /* -1 stays what is not known yet */
            shape.begin[1 + side] = shapes[0][first + side] < 0 ? -1 : patches_along(shapes[0][first + side], shapes[1]);
        shape.begin[3] = width < 0 ? -1 : width * shapes[1][0] * shapes[1][0];
    }
    return shape;
}

static Status compute(ARGUMENTS, int channels, int first) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    Patches task = {.x = params[0], .out = params[2]};
    if (!read_sizes(ranks, shapes, channels, first, &task) || !are_patches(&task, ranks[2], shapes[2]))
        return WRONG_SHAPE;
    parallel_for(patches_part, &task, task.samples * task.down, parts_for(size(4, shapes[2])));
    return DONE;
}

Shape patchesInferShape(int *ranks, int64_t **shapes, void *extra) { return patches_shape(ranks, shapes, 1, 2); }
Shape token_patchesInferShape(int *ranks, int64_t **shapes, void *extra) { return patches_shape(ranks, shapes, 3, 1); }

/* x (N, C, H, W), geometry (kernel, stride, 1 + padding) -> (N, H', W', C kernel^2), zeros beyond the edges, where H' is
   (H + 2 padding - kernel) / stride + 1, rounded down. Only the shape of `geometry` is read: that of the output depends
   on it, and nameInferShape is shown shapes alone. */
int patches(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, 1, 2); }

/* The same of tokens, x (N, H, W, C). */
int token_patches(ARGUMENTS) { return compute(count, params, ranks, shapes, types, stream, extra, 3, 1); }

/* x (N, C, H, W), geometry, gradient of the output -> gradient of x. */
int patches_grad(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    Patches task = {.x = params[2], .out = params[3]};
    if (!read_sizes(ranks, shapes, 1, 2, &task) || !are_patches(&task, ranks[2], shapes[2]) ||
        !same_shape(4, shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    parallel_for(patches_grad_part, &task, task.samples * task.channels, parts_for(size(4, shapes[2])));
    return DONE;
}
