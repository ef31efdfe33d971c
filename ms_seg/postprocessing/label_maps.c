/* The class of each pixel of a picture, from values of every class that are resized to it: one pass, on all cores.

   Resizing is the arithmetic of resizing.py's Taps.apply, operation for operation: (upper - lower) * weight + lower, in
   float32, along the rows and then along the columns, to the input and then to the picture. So this file is compiled
   without contractions and without regrouping, and its label maps are those of NumPy.

   Nothing is held at the picture's size but the label map. A thread goes down its rows of the picture, of which it
   resizes the rows first; then it takes LANES pixels at a time, class after class: neither the highest class nor a sum
   over the classes has to be searched for across a vector. 512x683 with 150 classes, one core (AMD Zen 5): 12 ms, in
   NumPy 107 ms; of AVX2 (AMD Zen 3) 31 ms. With the classes of a pixel in a vector it takes twice as long. */

#include "operator.h"
#include <float.h>

/* LANES: as many as one register holds: a shuffle of more goes through memory (AVX2: 16 lanes take 413 ms, and 8 of
   them 47). FEW: neighbours that LANES values are picked from fastest. AVX2: the four in each half of a
   register, which together with `larger` below make 46 ms of AMD's Zen 3 to 34. */
#ifdef __AVX512F__
#define LANES 16
#define FEW LANES
#elif defined(__AVX2__)
#define LANES 8
#define FEW 4
#else
#define LANES 8
#define FEW LANES
#endif
#if FEW == 4
#include <immintrin.h>
#endif
#define PAIR 2       /* vectors of pixels at a time: what waits for the one is done for the other */
#define LOG2_E 1.44269504f
#define MAX_BANDS 64 /* of rows, whose sums are added up in their order: the same for any number of threads */

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

typedef struct { /* for each target position the two source positions beside it and the weight of the upper one */
    const int32_t *lower, *upper;
    const float *weight;
} Taps;

typedef struct { /* where LANES pixels of a row come from: by way of two columns of the input, each of two of the values */
    Integers at[4];
    Floats weights[2], weight;
    int64_t first; /* column that `at` counts from */
    int reach;     /* how far they are from it: one of the following */
} Pixels;

enum { FAR, AMONG_LANES, AMONG_FEW };

typedef struct {
    const float *values;
    int64_t classes, step_of_class, step_of_row, step_of_column; /* in elements */
    int64_t width, picture_height, picture_width;
    int64_t step; /* from a class to the next in a row of scratch: not a power of two, whose lines drive each other out */
    Taps input_rows, rows;
    int twice; /* columns are resized twice */
    int shares;
    const Pixels *pixels;
    int64_t blocks; /* of PAIR * LANES pixels of a row */
    int32_t *label_map;
    double *sums; /* (bands, classes) */
    int64_t bands;
    float *scratch;
    int64_t scratch_of_worker;
} LabelMaps;

typedef struct { /* a row of every class */
    const float *data;
    int64_t step; /* from a class to the next */
} Row;

typedef struct { /* the latest two rows, an even and an odd one, and which they are */
    float *data[2];
    int64_t held[2];
} Latest;

/* ------------------------------------------------------------------------------------------------------ vectors */

static inline Floats load(const float *values) {
    Floats loaded;
    memcpy(&loaded, values, sizeof loaded);
    return loaded;
}

/* The larger of each two numbers, as one instruction. Of the vectors' comparisons GCC makes two for AVX2, and three of a
   function that is given the result. */
#if FEW == 4
#define larger(a, b) ((Floats)_mm256_max_ps((__m256)(a), (__m256)(b)))
#else
#define larger(a, b) ((Floats)(((Integers)(a) & ((a) > (b))) | ((Integers)(b) & ~((a) > (b)))))
#endif

/* Scores need no particular rounding: a function of them alone may fuse its products with its sums. */
#if defined(__GNUC__) && !defined(__clang__)
#define MAY_FUSE __attribute__((noinline, optimize("fp-contract=fast")))
#define INLINE_MAY_FUSE static inline __attribute__((optimize("fp-contract=fast")))
#else
#define MAY_FUSE
#define INLINE_MAY_FUSE static inline
#endif

/* exp(x) for x <= 0, exactly 1 of 0; its error is at most 3e-6 of it, to either side. */
INLINE_MAY_FUSE Floats falling_exponential(Floats x) {
    const Floats lowest = (Floats){0} - 83.0f, shift = (Floats){0} + 12582912.0f; /* 1.5 * 2^23 */
    x = larger(x, lowest);
    Floats moved = x * LOG2_E + shift; /* the whole part of the power of two is in its last bits */
    Floats part = x * LOG2_E - (moved - shift);
    Floats p = part * 0.00958285309f + 0.0559064246f;
    p = p * part + 0.240240986f;
    p = p * part + 0.693124193f;
    p = p * part + 1.0f;
    return (Floats)((Integers)p + ((Integers)moved << 23));
}

/* LANES values of a row. */
static inline Floats pick(const float *row, const Pixels *pixels, int corner, int reach) {
#if FEW == 4
    if (reach == AMONG_FEW) {
        __m256 in_each_half = _mm256_broadcast_ps((const __m128 *)(row + pixels->first));
        return (Floats)_mm256_permutevar_ps(in_each_half, (__m256i)pixels->at[corner]);
    }
#endif
#if defined(__GNUC__) && !defined(__clang__)
    if (reach != FAR)
        return __builtin_shuffle(load(row + pixels->first), pixels->at[corner]);
#endif
    Floats picked;
    for (int lane = 0; lane < LANES; lane++)
        picked[lane] = row[pixels->first + pixels->at[corner][lane]];
    return picked;
}

/* --------------------------------------------------------------------------------------------------------- rows */

static void blend(const LabelMaps *task, Row lower, Row upper, float weight, float *out) {
    for (int64_t c = 0; c < task->classes; c++) {
        const float *restrict low = lower.data + c * lower.step, *restrict up = upper.data + c * upper.step;
        float *restrict row = out + c * task->step;
        for (int64_t x = 0; x < task->width; x++)
            row[x] = (up[x] - low[x]) * weight + low[x];
    }
}

static Row values_row(const LabelMaps *task, Latest *latest, int64_t row) {
    const float *values = task->values + row * task->step_of_row;
    if (task->step_of_column == 1)
        return (Row){values, task->step_of_class};
    float *out = latest->data[row & 1];
    if (latest->held[row & 1] != row)
        for (int64_t x = 0; x < task->width; x++)
            for (int64_t c = 0; c < task->classes; c++)
                out[c * task->step + x] = values[x * task->step_of_column + c * task->step_of_class];
    latest->held[row & 1] = row;
    return (Row){out, task->step};
}

/* A row of the input. alone: no other one is asked for while it is used, so that it may be a row of the values. */
static Row input_row(const LabelMaps *task, Latest *values, Latest *latest, int64_t row, int alone) {
    float weight = task->input_rows.weight[row], *out = latest->data[row & 1];
    Row lower = {0};
    if (latest->held[row & 1] != row || (weight == 0 && alone))
        lower = values_row(task, values, task->input_rows.lower[row]);
    if (weight == 0 && alone)
        return lower;
    if (latest->held[row & 1] != row) {
        Row upper = weight == 0 ? lower : values_row(task, values, task->input_rows.upper[row]);
        blend(task, lower, upper, weight, out);
        latest->held[row & 1] = row;
    }
    return (Row){out, task->step};
}

/* ------------------------------------------------------------------------------------------------------- pixels */

/* The values of a class at LANES pixels. */
static inline Floats at_pixels(const float *row, const Pixels *pixels, int reach, int twice) {
    Floats lower = pick(row, pixels, 0, reach);
    lower = (pick(row, pixels, 1, reach) - lower) * pixels->weights[0] + lower;
    if (!twice)
        return lower;
    Floats upper = pick(row, pixels, 2, reach);
    upper = (pick(row, pixels, 3, reach) - upper) * pixels->weights[1] + upper;
    return (upper - lower) * pixels->weight + lower;
}

/* Resize PAIR * LANES pixels of every class into `values`, (classes, PAIR) vectors; the first class with the highest
   value at each, as argmax, and that value. */
static inline void find_best(const LabelMaps *task, Row row, const Pixels *pixels, Floats *restrict values,
                             Integers *best, Floats *highest, int reach, int twice) {
    Floats high0 = (Floats){0} - INFINITY, high1 = high0;
    Integers best0 = {0}, best1 = {0}, here = {0};
    for (int64_t c = 0; c < task->classes; c++, here += 1) {
        const float *own = row.data + c * row.step;
        Floats value0 = at_pixels(own, pixels, reach, twice), value1 = at_pixels(own, pixels + 1, reach, twice);
        Integers more0 = value0 > high0, more1 = value1 > high1;
        values[2 * c] = value0, values[2 * c + 1] = value1;
        high0 = larger(value0, high0), high1 = larger(value1, high1);
        best0 = (here & more0) | (best0 & ~more0), best1 = (here & more1) | (best1 & ~more1);
    }
    best[0] = best0, best[1] = best1, highest[0] = high0, highest[1] = high1;
}

/* What the best class has at each pixel: its softmax, or its share in the sum of all classes. */
static MAY_FUSE void find_certainty(const LabelMaps *task, const Floats *values, const Floats *highest,
                                    Floats *certainty) {
    const Floats least = (Floats){0} + FLT_MIN;
    Floats sums[PAIR] = {0};
    for (int64_t c = 0; c < task->classes; c++)
        for (int i = 0; i < PAIR; i++) {
            Floats value = values[c * PAIR + i];
            sums[i] += task->shares ? value : falling_exponential(value - highest[i]);
        }
    for (int i = 0; i < PAIR; i++)
        certainty[i] = task->shares ? highest[i] / larger(sums[i], least) : 1.0f / sums[i];
}

static void label_row(const LabelMaps *task, Row row, Floats *values, int32_t *out, double *sums) {
    for (int64_t block = 0; block < task->blocks; block++) {
        Integers best[PAIR];
        Floats highest[PAIR], certainty[PAIR];
        const Pixels *pixels = task->pixels + block * PAIR;
        int reach = pixels[0].reach < pixels[1].reach ? pixels[0].reach : pixels[1].reach;
        if (reach == FAR)
            find_best(task, row, pixels, values, best, highest, FAR, 1);
        else if (reach == AMONG_LANES)
            find_best(task, row, pixels, values, best, highest, AMONG_LANES, 1);
        else if (task->twice)
            find_best(task, row, pixels, values, best, highest, AMONG_FEW, 1);
        else
            find_best(task, row, pixels, values, best, highest, AMONG_FEW, 0);
        find_certainty(task, values, highest, certainty);
        int64_t first = block * PAIR * LANES, left = task->picture_width - first;
        for (int64_t i = 0; i < PAIR * LANES && i < left; i++) {
            int32_t label = best[i / LANES][i % LANES];
            out[first + i] = label;
            sums[label] += certainty[i / LANES][i % LANES];
        }
    }
}

static void bands_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const LabelMaps *task = argument;
    int64_t row_size = task->step * task->classes;
    Floats *at_pixels = (Floats *)(task->scratch + worker * task->scratch_of_worker);
    float *rows = (float *)(at_pixels + PAIR * task->classes), *line = rows + 4 * row_size;
    Latest values = {{rows, rows + row_size}, {-1, -1}}, inputs = {{rows + 2 * row_size, rows + 3 * row_size}, {-1, -1}};
    for (int64_t band = begin; band < end; band++) {
        int64_t bottom = task->picture_height * (band + 1) / task->bands;
        for (int64_t y = task->picture_height * band / task->bands; y < bottom; y++) {
            float weight = task->rows.weight[y];
            Row row = input_row(task, &values, &inputs, task->rows.lower[y], weight == 0);
            if (weight != 0) {
                blend(task, row, input_row(task, &values, &inputs, task->rows.upper[y], 0), weight, line);
                row = (Row){line, task->step};
            }
            label_row(task, row, at_pixels, task->label_map + y * task->picture_width,
                      task->sums + band * task->classes);
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

/* Values of classes at (height, width), by their steps -> the label map of a picture, and for each class the sum of its
   certainties over the pixels where it is the best.

   sizes: classes; the steps from a class, a row and a column to the next; the width of the values and of the picture;
   the picture's height. indices, weights: lower, upper and weight of four Taps, from the values to the input along the
   rows and the columns, and from the input to the picture. Who calls sees to it that they point into their source.
   twice: the last of them, along the columns, does something. shares: a certainty is the share of all values, which
   must not be negative, and not the softmax. label_map (height, width). sums (classes). */
int label_map(const float *values, const int64_t *sizes, const int32_t **indices, const float **weights, int twice,
              int shares, int32_t *label_map, double *sums) {
    LabelMaps task = {
        .values = values, .classes = sizes[0], .step_of_class = sizes[1], .step_of_row = sizes[2],
        .step_of_column = sizes[3], .width = sizes[4], .picture_width = sizes[5], .picture_height = sizes[6],
        .twice = twice, .shares = shares, .label_map = label_map,
    };
    Taps taps[4];
    for (int i = 0; i < 4; i++)
        taps[i] = (Taps){indices[2 * i], indices[2 * i + 1], weights[i]};
    task.input_rows = taps[0], task.rows = taps[2];
    task.step = (task.width + 15) / 16 * 16 | 16;
    task.blocks = (task.picture_width + PAIR * LANES - 1) / (PAIR * LANES);
    task.bands = task.picture_height < MAX_BANDS ? task.picture_height : MAX_BANDS;
    task.scratch_of_worker = (5 * task.step / LANES + PAIR) * task.classes * LANES;
    Pixels *pixels = aligned_alloc(sizeof(Floats), task.blocks * PAIR * sizeof *pixels);
    task.scratch = aligned_alloc(sizeof(Floats), workers() * task.scratch_of_worker * sizeof *task.scratch);
    task.sums = calloc(task.bands * task.classes, sizeof *task.sums);
    Status status = pixels && task.scratch && task.sums ? DONE : NO_MEMORY;
    if (status == DONE) {
        plan_pixels(pixels, task.blocks * PAIR, task.picture_width, task.width, taps[1], taps[3]);
        task.pixels = pixels;
        /* A part resizes its first rows anew: there are no more of them than what keeps the workers equally busy. */
        int64_t parts = parts_for(task.picture_height * task.picture_width * task.classes), most = 4 * workers();
        parallel_for(bands_part, &task, task.bands, parts < most ? parts : most);
        for (int64_t band = 0; band < task.bands; band++)
            for (int64_t c = 0; c < task.classes; c++)
                sums[c] += task.sums[band * task.classes + c];
    }
    free(pixels);
    free(task.scratch);
    free(task.sums);
    return status;
}
