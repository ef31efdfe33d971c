/* The class of each pixel of a picture, from values of every class that are resized to it: one pass, on all cores.

   Resizing is the arithmetic of resizing.py's Taps.apply, operation for operation: (upper - lower) * weight + lower, in
   float32, along the rows and then along the columns, to the input and then to the picture. So this file is compiled
   without contractions and without regrouping, and its label maps are those of NumPy.

   Nothing is held at the picture's size but the label map. A thread goes down its rows of the picture, a strip of them
   at a time that lie between the same two rows of values, and from block to block of a strip: see blocks.h. With 150
   classes of 128x128, one core (AMD Zen 3): 512x683 in 23 ms, 3000x4000 in 370, where comparing all classes at each
   pixel, and an exponential of each, took 26 and 760. */

#include "blocks.h"
#include "operator.h"

#define MAX_BANDS 64 /* of strips, whose sums are added up in their order: the same for any number of threads */

typedef struct { /* for each target position the two source positions beside it and the weight of the upper one */
    const int32_t *lower, *upper;
    const float *weight;
} Taps;

typedef struct {
    const float *values;
    int64_t step_of_class, step_of_row, step_of_column; /* in elements */
    int64_t width;                                      /* of the values */
    Taps input_rows; /* rows from the values to the input */
    Taps rows;       /* to the picture: from the input, or from the values where the picture has the input's rows */
    int at_once;     /* it has */
    Strip strip;     /* what all strips have in common */
    int64_t *strips; /* their first rows, and the picture's height */
    int64_t strip_count;
    const Pixels *pixels;
    int64_t blocks; /* of a strip */
    int32_t *label_map;
    double *sums; /* (bands, classes) */
    int64_t bands;
    float *scratch;
    int64_t scratch_of_worker;
} LabelMaps;

typedef struct { /* the latest two rows, an even and an odd one, and which they are */
    Row rows[2];
    float *room[2];
    int64_t held[2];
} Latest;

/* --------------------------------------------------------------------------------------------------------- rows */

static float largest_of(const float *values, int64_t count) { /* without its sign */
    Floats most = {0};
    float largest = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        Floats here = load(values + i);
        most = larger(larger(here, -here), most);
    }
    for (; i < count; i++)
        largest = fmaxf(fabsf(values[i]), largest);
    for (int lane = 0; lane < LANES; lane++)
        largest = fmaxf(most[lane], largest);
    return largest;
}

/* A row of the values, with classes `step` apart: a power of two apart they would drive each other out of the cache. */
static Row values_row(const LabelMaps *task, Latest *latest, int64_t row) {
    int64_t classes = task->strip.classes, step = task->strip.step;
    const float *values = task->values + row * task->step_of_row;
    float *out = latest->room[row & 1];
    if (latest->held[row & 1] == row)
        return latest->rows[row & 1];
    if (task->step_of_column == 1)
        for (int64_t c = 0; c < classes; c++)
            memcpy(out + c * step, values + c * task->step_of_class, task->width * sizeof *out);
    else
        for (int64_t x = 0; x < task->width; x++)
            for (int64_t c = 0; c < classes; c++)
                out[c * step + x] = values[x * task->step_of_column + c * task->step_of_class];
    latest->held[row & 1] = row;
    return latest->rows[row & 1] = (Row){out, largest_of(out, classes * step)};
}

/* A row of the input. */
static Row input_row(const LabelMaps *task, Latest *values, Latest *latest, int64_t row) {
    int64_t size = task->strip.classes * task->strip.step;
    float *out = latest->room[row & 1];
    if (latest->held[row & 1] == row)
        return latest->rows[row & 1];
    Row lower = values_row(task, values, task->input_rows.lower[row]);
    float weight = task->input_rows.weight[row];
    if (weight == 0)
        memcpy(out, lower.data, size * sizeof *out);
    else
        blend(lower.data, values_row(task, values, task->input_rows.upper[row]).data, weight, size, out);
    latest->held[row & 1] = row;
    return latest->rows[row & 1] = (Row){out, largest_of(out, size)};
}

/* Items are bands: as many strips in each. */
static void bands_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LabelMaps *task = argument;
    int64_t classes = task->strip.classes, row_size = classes * task->strip.step, vectors = PAIR * classes;
    Floats *by_class = (Floats *)(task->scratch + worker * task->scratch_of_worker);
    float *room = (float *)(by_class + 4 * vectors);
    Block block = {.lower = by_class, .upper = by_class + vectors, .power = by_class + 2 * vectors,
                   .factor = by_class + 3 * vectors, .contenders = (int32_t *)(room + 5 * row_size)};
    Latest values = {.room = {room, room + row_size}, .held = {-1, -1}};
    Latest inputs = {.room = {room + 2 * row_size, room + 3 * row_size}, .held = {-1, -1}};
    memset(room, 0, 5 * row_size * sizeof *room); /* what is between a class's values and the next one's is looked at too */
    for (int64_t band = begin; band < end; band++)
        for (int64_t i = task->strip_count * band / task->bands; i < task->strip_count * (band + 1) / task->bands; i++) {
            int64_t y = task->strips[i], low = task->rows.lower[y], up = task->rows.upper[y];
            Strip strip = task->strip;
            strip.count = task->strips[i + 1] - y, strip.weights = task->rows.weight + y, strip.line = room + 4 * row_size;
            if (strip.count == 1 && *strip.weights == 0)
                up = low;
            strip.lower = task->at_once ? values_row(task, &values, low) : input_row(task, &values, &inputs, low);
            strip.upper = task->at_once ? values_row(task, &values, up) : input_row(task, &values, &inputs, up);
            if (strip.count == 1 && up != low) {
                blend(strip.lower.data, strip.upper.data, *strip.weights, row_size, strip.line);
                strip.lower.data = strip.upper.data = strip.line;
            }
            for (int64_t number = 0; number < task->blocks; number++) {
                int64_t x = number * PAIR * LANES, left = strip.picture_width - x;
                label_block(&strip, task->pixels + number * PAIR, left < PAIR * LANES ? left : PAIR * LANES, &block,
                            task->label_map + y * strip.picture_width + x, task->sums + band * classes);
            }
        }
}

/* -------------------------------------------------------------------------------------------------------- calls */

/* Where a row's pixels come from; the last vector repeats the last pixel. */
static void plan_pixels(Pixels *pixels, int64_t count, int64_t picture_width, int64_t width, Taps input, Taps picture) {
    for (int64_t i = 0; i < count; i++) {
        Pixels *block = pixels + i;
        int64_t first = width, last = 0;
        for (int lane = 0; lane < LANES; lane++) {
            int64_t x = i * LANES + lane < picture_width ? i * LANES + lane : picture_width - 1;
            int64_t columns[] = {picture.lower[x], picture.upper[x]};
            for (int side = 0; side < 2; side++) {
                int32_t low = input.lower[columns[side]], up = input.upper[columns[side]];
                block->at[2 * side][lane] = low, block->at[2 * side + 1][lane] = up;
                block->weights[side][lane] = input.weight[columns[side]];
                first = low < first ? low : first;
                last = up > last ? up : last;
            }
            block->weight[lane] = picture.weight[x];
        }
        int64_t columns = last - first < FEW ? FEW : LANES;
        first = first + columns > width ? width - columns : first;
        block->reach = first < 0 || last - first >= columns ? FAR : columns == FEW ? AMONG_FEW : AMONG_LANES;
        block->first = first > 0 ? first : 0;
        for (int corner = 0; corner < 4; corner++)
            block->at[corner] -= (int32_t)block->first;
    }
}

/* The first rows of the strips, and then the height; returns how many there are. Rows at the upper edge, all of which are
   the first row of values, are no strip with those below: they are not equally far apart. */
static int64_t plan_strips(Taps rows, int64_t height, int64_t *strips) {
    int64_t count = 0, first = 0;
    for (int64_t y = 0; y < height; y++) {
        float step = y > first ? rows.weight[first + 1] - rows.weight[first] : 0;
        if (y == first || y - first == MAX_STRIP || rows.lower[y] != rows.lower[first] ||
            rows.upper[y] != rows.upper[first] || fabsf(rows.weight[y] - rows.weight[y - 1] - step) > 0.01f * step)
            strips[count++] = first = y;
    }
    strips[count] = height;
    return count;
}

/* Values of classes at (height, width), by their steps -> the label map of a picture, and for each class the sum of its
   certainties over the pixels where it is the best.

   sizes: classes; the steps from a class, a row and a column to the next; the width of the values and of the picture;
   the picture's height. indices, weights: lower, upper and weight of four Taps, from the values to the input along the
   rows and the columns, and from the input to the picture. Who calls sees to it that they point into their source.
   twice: the last of them, along the columns, does something. shares: a certainty is the share of all values, which
   must not be negative, and not the softmax. label_map (height, width). sums (classes). */
int label_map(const float *values, const int64_t *sizes, const int32_t **indices, const float **weights, int twice,
              int shares, int32_t *label_map, double *sums) {
    Taps taps[4];
    for (int i = 0; i < 4; i++)
        taps[i] = (Taps){indices[2 * i], indices[2 * i + 1], weights[i]};
    int64_t classes = sizes[0], width = sizes[4], picture_width = sizes[5], height = sizes[6];
    int64_t step = (width + 15) / 16 * 16 | 16; /* an odd number of lines of the cache */
    LabelMaps task = {
        .values = values, .step_of_class = sizes[1], .step_of_row = sizes[2], .step_of_column = sizes[3], .width = width,
        .input_rows = taps[0], .at_once = 1, .label_map = label_map,
        .strip = {.classes = classes, .step = step, .picture_width = picture_width, .twice = twice, .shares = shares},
        .blocks = (picture_width + PAIR * LANES - 1) / (PAIR * LANES),
        .scratch_of_worker = (4 * PAIR * LANES + 5 * step) * classes + (classes + 15) / 16 * 16,
    };
    for (int64_t y = 0; y < height; y++)
        task.at_once &= taps[2].lower[y] == y && taps[2].weight[y] == 0;
    task.rows = task.at_once ? taps[0] : taps[2];
    Pixels *pixels = aligned_alloc(sizeof(Floats), task.blocks * PAIR * sizeof *pixels);
    task.strips = malloc((height + 1) * sizeof *task.strips);
    task.scratch = aligned_alloc(sizeof(Floats), workers() * task.scratch_of_worker * sizeof *task.scratch);
    task.sums = calloc(MAX_BANDS * classes, sizeof *task.sums);
    Status status = pixels && task.strips && task.scratch && task.sums ? DONE : NO_MEMORY;
    if (status == DONE) {
        plan_pixels(pixels, task.blocks * PAIR, picture_width, width, taps[1], taps[3]);
        task.pixels = pixels;
        task.strip_count = plan_strips(task.rows, height, task.strips);
        task.bands = task.strip_count < MAX_BANDS ? task.strip_count : MAX_BANDS;
        /* A part resizes its first rows anew: there are no more of them than what keeps the workers equally busy. */
        int64_t parts = parts_for(height * picture_width * classes), most = 4 * workers();
        parallel_for(bands_part, &task, task.bands, parts < most ? parts : most);
        for (int64_t band = 0; band < task.bands; band++)
            for (int64_t c = 0; c < classes; c++)
                sums[c] += task.sums[band * classes + c];
    }
    free(pixels);
    free(task.strips);
    free(task.scratch);
    free(task.sums);
    return status;
}
