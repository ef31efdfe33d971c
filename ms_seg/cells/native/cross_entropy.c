/* The cross-entropy of each pixel, the negative logarithm of its class's softmax, of logits that are resized bilinearly
   to the pixels (align_corners=False), as mmsegmentation's decode heads do it.

   Logits at the pixels' size, and their gradients, are never held: of 150 classes at 512x512 each would take 157 MB.
   A thread goes down a band of the small maps, PIXELS columns at a time, and keeps the two rows that a row of pixels lies
   between as wide as these are; in two such rows it sums up what the pixels add to the gradient. Along a row resizing is
   a product with a matrix of weights, and its gradient one with the matrix transposed: there NaN and infinity spread to
   PIXELS. Maps of the pixels' size are read and written as they are. */

#include "product.h"
#include "resized.h"

enum { PIXELS = 64, BANDS = 16 }; /* what PIXELS of all classes need stays in a core's cache */

typedef struct {
    const float *logits, *out_grad; /* out_grad: NULL for the cross-entropies themselves */
    const int32_t *targets;
    float *out;
    Sgemm sgemm;
    int64_t classes, height, width, out_height, out_width;
    int64_t bands, band_rows; /* of a sample, and rows of the small maps in each but the last */
    int64_t reach;            /* columns of the small maps that PIXELS lie between, at most */
    Between *rows, *columns;  /* of each row and column of pixels */
    float *overlaps;          /* (N, bands, classes, width): what a band adds to the first row of the next one */
    float *scratch;
    int64_t scratch_size; /* of a worker */
} CrossEntropy;

typedef struct { /* of each class PIXELS numbers, or fewer at the end of a row */
    float *data;
    int64_t step; /* from a class to the next */
} Lines;

typedef struct { /* columns first .. first + pixels - 1 of a band's pixels */
    int64_t item, sample, first, pixels;
    int64_t begin, columns; /* of the small maps, that they lie between */
    int64_t held[2];        /* which rows of the small maps are in `wide` and `sums`, an even and an odd one */
    float *weights;         /* (columns, PIXELS) */
    float *wide[2];         /* (classes, PIXELS): logits that were resized along the row alone */
    float *sums[2];         /* (classes, PIXELS): of the gradients of such logits */
    float *values;          /* (classes, PIXELS) */
} Block;

static inline int same_width(const CrossEntropy *task) { return task->width == task->out_width; }

/* A row of the gradient of the small maps, from the block's first column on. */
static Lines grad_row(const CrossEntropy *task, const Block *block, int64_t row) {
    int64_t map = task->height * task->width, bottom = (block->item % task->bands + 1) * task->band_rows;
    if (row >= bottom)
        return (Lines){task->overlaps + block->item * task->classes * task->width + block->begin, task->width};
    return (Lines){task->out + block->sample * task->classes * map + row * task->width + block->begin, map};
}

/* The same of the logits. */
static Lines logits_row(const CrossEntropy *task, const Block *block, int64_t row) {
    int64_t map = task->height * task->width, first = block->sample * task->classes * map + row * task->width;
    return (Lines){(float *)task->logits + first + block->begin, map}; /* nothing is written there */
}

/* What the sums of the row that is held add to the gradient of the small maps; they are zeros then. */
static void narrow(const CrossEntropy *task, const Block *block, int place) {
    if (block->held[place] < 0)
        return;
    Lines row = grad_row(task, block, block->held[place]);
    product(task->sgemm, task->classes, block->columns, block->pixels, (Matrix){block->sums[place], PIXELS, 0},
            (Matrix){block->weights, PIXELS, 1}, 1, row.data, row.step);
    memset(block->sums[place], 0, task->classes * PIXELS * sizeof *block->sums[place]);
}

/* See to it that a row is held. */
static void hold(const CrossEntropy *task, Block *block, int64_t row) {
    int place = row & 1;
    if (block->held[place] == row)
        return;
    if (task->out_grad)
        narrow(task, block, place);
    Lines logits = logits_row(task, block, row);
    product(task->sgemm, task->classes, block->pixels, block->columns, (Matrix){logits.data, logits.step, 0},
            (Matrix){block->weights, PIXELS, 0}, 0, block->wide[place], PIXELS);
    block->held[place] = row;
}

/* The logits of pixels between two rows, and the largest of each. */
static void mix_rows(const CrossEntropy *task, const Block *block, Lines lower, Lines upper, float across,
                     float *restrict largest) {
    int64_t pixels = block->pixels;
    for (int64_t c = 0; c < task->classes; c++) {
        const float *restrict low = lower.data + c * lower.step, *restrict up = upper.data + c * upper.step;
        float *restrict values = block->values + c * PIXELS;
        if (across == 0)
            memcpy(values, low, pixels * sizeof *values);
        else
            for (int64_t i = 0; i < pixels; i++)
                values[i] = mix(low[i], up[i], across);
        for (int64_t i = 0; i < pixels; i++)
            largest[i] = c && !(values[i] > largest[i]) ? largest[i] : values[i];
    }
}

/* The values become their exponentials, divided by that of the largest. */
static void exponentiate(const CrossEntropy *task, const Block *block, const float *restrict largest,
                         float *restrict sum) {
    memset(sum, 0, PIXELS * sizeof *sum);
    for (int64_t c = 0; c < task->classes; c++) {
        float *restrict values = block->values + c * PIXELS;
        for (int64_t i = 0; i < block->pixels; i++)
            sum[i] += values[i] = exponential(values[i] - largest[i]);
    }
}

/* What pixels add to the sums of one of the two rows: `share` of their softmax, less 1 for their class, times `grad`. */
static void add_share(const CrossEntropy *task, const Block *block, Lines sums, float share, const int32_t *targets,
                      const float *restrict grad, const float *restrict sum) {
    float factors[PIXELS];
    for (int64_t i = 0; i < block->pixels; i++)
        factors[i] = share * grad[i] / sum[i];
    for (int64_t c = 0; c < task->classes; c++) {
        const float *restrict values = block->values + c * PIXELS;
        float *restrict line = sums.data + c * sums.step;
        for (int64_t i = 0; i < block->pixels; i++)
            line[i] += factors[i] * values[i];
    }
    for (int64_t i = 0; i < block->pixels; i++)
        sums.data[targets[i] * sums.step + i] -= share * grad[i];
}

/* A row of pixels. */
static void do_row(const CrossEntropy *task, Block *block, int64_t y) {
    Between rows = task->rows[y];
    int64_t ends[] = {rows.lower, rows.upper};
    Lines logits[2], sums[2];
    for (int side = 0; side < 2; side++) {
        int place = ends[side] & 1;
        if (same_width(task)) {
            logits[side] = logits_row(task, block, ends[side]);
            sums[side] = task->out_grad ? grad_row(task, block, ends[side]) : (Lines){0};
        } else {
            hold(task, block, ends[side]);
            logits[side] = (Lines){block->wide[place], PIXELS}, sums[side] = (Lines){block->sums[place], PIXELS};
        }
    }
    float largest[PIXELS], sum[PIXELS], own[PIXELS];
    int64_t first = (block->sample * task->out_height + y) * task->out_width + block->first;
    const int32_t *targets = task->targets + first;
    mix_rows(task, block, logits[0], logits[1], rows.across, largest);
    for (int64_t i = 0; i < block->pixels; i++)
        own[i] = block->values[targets[i] * PIXELS + i];
    exponentiate(task, block, largest, sum);
    if (!task->out_grad)
        for (int64_t i = 0; i < block->pixels; i++)
            task->out[first + i] = logf(sum[i]) + largest[i] - own[i];
    else {
        add_share(task, block, sums[0], 1 - rows.across, targets, task->out_grad + first, sum);
        if (rows.across != 0)
            add_share(task, block, sums[1], rows.across, targets, task->out_grad + first, sum);
    }
}

/* Where PIXELS from column `first` on lie in the small maps. */
static Block block_at(const CrossEntropy *task, int64_t item, int64_t first, float *scratch) {
    int64_t left = task->out_width - first, lines = task->classes * PIXELS;
    Block block = {.item = item, .sample = item / task->bands, .first = first, .pixels = left < PIXELS ? left : PIXELS,
                   .begin = task->columns[first].lower, .held = {-1, -1}, .wide = {scratch, scratch + lines},
                   .sums = {scratch + 2 * lines, scratch + 3 * lines}, .values = scratch + 4 * lines,
                   .weights = scratch + 5 * lines};
    block.columns = task->columns[first + block.pixels - 1].upper + 1 - block.begin;
    memset(block.weights, 0, block.columns * PIXELS * sizeof *block.weights);
    for (int64_t i = 0; i < block.pixels; i++) {
        Between column = task->columns[first + i];
        block.weights[(column.lower - block.begin) * PIXELS + i] += 1 - column.across;
        block.weights[(column.upper - block.begin) * PIXELS + i] += column.across;
    }
    return block;
}

/* Items are bands of all samples: the rows of pixels whose lower row is in it. */
static void bands_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const CrossEntropy *task = argument;
    float *scratch = task->scratch + worker * task->scratch_size;
    for (int64_t item = begin; item < end; item++) {
        int64_t top = item % task->bands * task->band_rows, bottom = top + task->band_rows, first = 0;
        bottom = bottom < task->height ? bottom : task->height;
        while (first < task->out_height && task->rows[first].lower < top)
            first++;
        if (task->out_grad) {
            memset(scratch, 0, 4 * task->classes * PIXELS * sizeof *scratch);
            for (int64_t c = 0; c < task->classes; c++)
                memset(task->out + ((item / task->bands * task->classes + c) * task->height + top) * task->width, 0,
                       (bottom - top) * task->width * sizeof *task->out);
        }
        for (int64_t x = 0; x < task->out_width; x += PIXELS) {
            Block block = block_at(task, item, x, scratch);
            for (int64_t y = first; y < task->out_height && task->rows[y].lower < bottom; y++)
                do_row(task, &block, y);
            for (int place = 0; place < 2 && task->out_grad; place++)
                narrow(task, &block, place);
        }
    }
}

/* Items are bands of all samples, to whose first row the one above adds something. */
static void overlaps_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const CrossEntropy *task = argument;
    for (int64_t item = begin; item < end; item++) {
        int64_t sample = item / task->bands, top = item % task->bands * task->band_rows;
        for (int64_t c = 0; c < task->classes && top; c++) {
            const float *restrict overlap = task->overlaps + ((item - 1) * task->classes + c) * task->width;
            float *restrict row = task->out + ((sample * task->classes + c) * task->height + top) * task->width;
            for (int64_t x = 0; x < task->width; x++)
                row[x] += overlap[x];
        }
    }
}

/* Of logits, targets, and what else has a number for each pixel. */
static Status check(int *ranks, int64_t **shapes, void **params) {
    if (ranks[0] != 4 || ranks[1] != 4)
        return WRONG_SHAPE;
    const int64_t *logits = shapes[0], *targets = shapes[1];
    if (logits[2] < 1 || logits[3] < 1 || targets[0] != logits[0] || targets[1] != 1 ||
        !same_shape(4, targets, ranks[2], shapes[2]))
        return WRONG_SHAPE;
    const int32_t *classes = params[1];
    for (int64_t i = 0; i < size(4, targets); i++)
        if (classes[i] < 0 || classes[i] >= logits[1])
            return WRONG_INDEX;
    return DONE;
}

/* Where a position of the pixels is in the small maps: on one of theirs alone, if it is there. */
static Between on_one(int64_t to, int64_t size, int64_t from) {
    Between place = between(to, size, from, 0);
    if (place.across == 0)
        place.upper = place.lower; /* the next one may be NaN, or in a band that nothing is added to */
    return place;
}

static void find_rows_and_columns(CrossEntropy *task) {
    for (int64_t y = 0; y < task->out_height; y++)
        task->rows[y] = on_one(y, task->out_height, task->height);
    for (int64_t x = 0; x < task->out_width; x++)
        task->columns[x] = on_one(x, task->out_width, task->width);
    for (int64_t x = 0; x < task->out_width; x += PIXELS) {
        int64_t last = x + PIXELS < task->out_width ? x + PIXELS - 1 : task->out_width - 1;
        int64_t reach = task->columns[last].upper + 1 - task->columns[x].lower;
        task->reach = reach > task->reach ? reach : task->reach;
    }
}

static Status run(CrossEntropy *task, const int64_t *logits, const int64_t *targets) {
    task->classes = logits[1], task->height = logits[2], task->width = logits[3];
    task->out_height = targets[2], task->out_width = targets[3];
    task->band_rows = (task->height + BANDS - 1) / BANDS;
    task->bands = (task->height + task->band_rows - 1) / task->band_rows;
    task->sgemm = find_sgemm();
    int64_t items = logits[0] * task->bands;
    int64_t overlaps = task->out_grad && task->height != task->out_height ? items * task->classes * task->width : 0;
    task->overlaps = calloc(overlaps + 1, sizeof *task->overlaps);
    task->rows = malloc((task->out_height + task->out_width + 1) * sizeof *task->rows);
    Status status = task->overlaps && task->rows ? DONE : NO_MEMORY;
    if (status == DONE) {
        task->columns = task->rows + task->out_height;
        find_rows_and_columns(task);
        task->scratch_size = (5 * task->classes + task->reach) * PIXELS;
        task->scratch = malloc(workers() * task->scratch_size * sizeof *task->scratch + 1);
        status = task->scratch ? DONE : NO_MEMORY;
    }
    if (status == DONE) {
        parallel_for(bands_part, task, items, parts_for(size(4, targets) * task->classes));
        if (overlaps)
            parallel_for(overlaps_part, task, items, parts_for(overlaps));
    }
    free(task->overlaps);
    free(task->rows);
    free(task->scratch);
    return status;
}

Shape cross_entropyInferShape(int *ranks, int64_t **shapes, void *extra) {
    return shape_of_first((int[]){ranks[1]}, shapes + 1);
}

/* logits (N, C, h, w), targets (N, 1, H, W) int32 from 0 to C - 1 -> cross-entropies (N, 1, H, W). */
int cross_entropy(ARGUMENTS) {
    if (!types_are("fif", count, types))
        return WRONG_TYPE;
    Status status = check(ranks, shapes, params);
    CrossEntropy task = {.logits = params[0], .targets = params[1], .out = params[2]};
    return status == DONE ? run(&task, shapes[0], shapes[1]) : status;
}

Shape cross_entropy_gradInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* logits, targets, gradient of the output -> gradient of the logits. */
int cross_entropy_grad(ARGUMENTS) {
    if (!types_are("fiff", count, types))
        return WRONG_TYPE;
    if (!same_shape(ranks[0], shapes[0], ranks[3], shapes[3]))
        return WRONG_SHAPE;
    Status status = check(ranks, shapes, params);
    CrossEntropy task = {.logits = params[0], .targets = params[1], .out_grad = params[2], .out = params[3]};
    return status == DONE ? run(&task, shapes[0], shapes[1]) : status;
}
