/* A 3x3 convolution with zero padding, which keeps the size, by Winograd's F(2x4, 3x3) (arXiv:1509.09308): windows of
   4x6 pixels, two rows and four columns apart, are transformed; in each of the 24 places of their transforms, the
   products with the weights of all channels are one product of matrices; transformed back they give 2x4 pixels. That is
   3 multiplications for a pixel and a pair of channels instead of 9. NaN and infinity spread to all pixels of the tiles
   whose windows they are in. A batch norm, and what follows it, is applied to a line of pixels before it leaves the
   cache.

   Down a window polynomials are taken at 0, 1, -1 and infinity, as is usual for two rows; along its lines at 0, NEAR,
   -NEAR, FAR, -FAR and infinity. For 256 channels the error is 7e-7; that of F(2x2, 3x3), with 4 multiplications, would
   be 4e-7, that of F(4x4, 3x3), with 2.25, 1.3e-6, and with the usual points 1, -1, 2, -2 twice as large. */

#include "product.h"

enum { DOWN = 4, ALONG = 6, PLACES = DOWN * ALONG, TILE = 4, LINE = 16, TILES = 128 };
/* TILE: pixels of a tile's line; LINE: numbers of a cache line; TILES are transformed together, about. */
#define NEAR 0.75f
#define FAR 1.5f
#define NEAR2 (NEAR * NEAR)
#define FAR2 (FAR * FAR)

typedef struct {
    const float *x, *weight;
    const float *scale, *shift, *residual; /* NULL where there is no norm, and where its ReLU is taken */
    float *out, *weights, *scratch; /* weights (PLACES, out_channels, channels), transformed */
    int turned; /* weight is that of the other direction, (channels, out_channels, 3, 3), and its kernels are turned round */
    Sgemm sgemm;
    int64_t channels, out_channels, height, width;
    int64_t across, rows; /* tiles of a row of tiles, and such rows of a strip */
    int64_t scratch_size; /* of a worker */
} Conv;

static inline int64_t strips_of(const Conv *task) {
    int64_t tiles_down = (task->height + 1) / 2;
    return (tiles_down + task->rows - 1) / task->rows;
}

/* Of the taps a, b, c of a kernel's column; `step` and `out_step` from one to the next. */
static inline void transform_taps_down(const float (*w)[LINE], int step, float (*out)[LINE], int out_step) {
    for (int i = 0; i < LINE; i++) {
        float a = w[0][i], b = w[step][i], c = w[2 * step][i];
        out[0][i] = a;
        out[out_step][i] = 0.5f * (a + b + c);
        out[2 * out_step][i] = 0.5f * (a - b + c);
        out[3 * out_step][i] = c;
    }
}

/* Of the taps of a line: a + b p + c p^2 at each point p, divided by the product of its distances from the others. */
static inline void transform_taps_along(const float (*w)[LINE], float (*out)[LINE]) {
    const float near = 1 / (2 * NEAR2 * (NEAR2 - FAR2)), far = 1 / (2 * FAR2 * (FAR2 - NEAR2));
    for (int i = 0; i < LINE; i++) {
        float a = w[0][i], b = w[1][i], c = w[2][i];
        out[0][i] = a * (1 / (NEAR2 * FAR2));
        out[1][i] = near * ((a + NEAR2 * c) + NEAR * b);
        out[2][i] = near * ((a + NEAR2 * c) - NEAR * b);
        out[3][i] = far * ((a + FAR2 * c) + FAR * b);
        out[4][i] = far * ((a + FAR2 * c) - FAR * b);
        out[5][i] = c;
    }
}

/* Items are output channels. A line of their pairs with channels is transformed at once: written one by one, the
   places of a pair, a power of two apart, drive each other out of the cache. */
static void weights_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Conv *task = argument;
    int64_t plane = task->out_channels * task->channels, last = end * task->channels;
    for (int64_t first = begin * task->channels; first < last; first += LINE) {
        int64_t pairs = last - first < LINE ? last - first : LINE;
        float taps[9][LINE] = {{0}}, columns[DOWN * 3][LINE], whole[PLACES][LINE];
        for (int64_t i = 0; i < pairs; i++) {
            int64_t pair = first + i, other = pair % task->channels * task->out_channels + pair / task->channels;
            const float *kernel = task->weight + 9 * (task->turned ? other : pair);
            for (int tap = 0; tap < 9; tap++)
                taps[tap][i] = kernel[task->turned ? 8 - tap : tap];
        }
        for (int column = 0; column < 3; column++)
            transform_taps_down(taps + column, 3, columns + column, 3);
        for (int row = 0; row < DOWN; row++)
            transform_taps_along(columns + 3 * row, whole + ALONG * row);
        for (int place = 0; place < PLACES; place++)
            memcpy(task->weights + place * plane + first, whole[place], pairs * sizeof **whole);
    }
}

/* Four lines of a channel, with zeros around them -> the windows' transforms down the lines: rows of 4 across + 2. */
static void transform_down(const Conv *task, const float *x, int64_t y, float *out) {
    int64_t width = task->width, size = TILE * task->across + 2;
    float *lines[DOWN];
    for (int line = 0; line < DOWN; line++) {
        lines[line] = out + line * size;
        memset(lines[line], 0, size * sizeof *out);
        if (y + line >= 0 && y + line < task->height)
            memcpy(lines[line] + 1, x + (y + line) * width, width * sizeof *x);
    }
    float *restrict first = lines[0], *restrict second = lines[1], *restrict third = lines[2], *restrict last = lines[3];
    for (int64_t i = 0; i < size; i++) {
        float b = second[i], c = third[i];
        first[i] -= c;
        second[i] = b + c;
        third[i] = c - b;
        last[i] = b - last[i];
    }
}

/* A line of 4 across + 2 numbers -> its windows' transforms, `plane` apart. */
static void transform_along(const float *restrict line, int64_t across, int64_t plane, float *restrict out) {
    for (int64_t t = 0; t < across; t++) {
        const float *d = line + TILE * t;
        float near = d[4] - FAR2 * d[2], far = d[4] - NEAR2 * d[2];
        float near_odd = NEAR * (d[3] - FAR2 * d[1]), far_odd = FAR * (d[3] - NEAR2 * d[1]);
        out[t] = (d[4] - (NEAR2 + FAR2) * d[2]) + NEAR2 * FAR2 * d[0];
        out[t + plane] = near + near_odd;
        out[t + 2 * plane] = near - near_odd;
        out[t + 3 * plane] = far + far_odd;
        out[t + 4 * plane] = far - far_odd;
        out[t + 5 * plane] = (d[5] - (NEAR2 + FAR2) * d[3]) + NEAR2 * FAR2 * d[1];
    }
}

/* A strip of x -> (PLACES, channels, tiles). */
static void transform_windows(const Conv *task, const float *x, int64_t first, float *line, float *out) {
    int64_t across = task->across, tiles = task->rows * across, plane = task->channels * tiles;
    for (int64_t channel = 0; channel < task->channels; channel++)
        for (int64_t row = 0; row < task->rows; row++) {
            transform_down(task, x + channel * task->height * task->width, 2 * (first + row) - 1, line);
            float *at = out + channel * tiles + row * across;
            for (int down = 0; down < DOWN; down++)
                transform_along(line + down * (TILE * across + 2), across, plane, at + down * ALONG * plane);
        }
}

/* A line of a channel's pixels -> out, `at` which the residual is as well. */
static void finish_line(const Conv *task, const float *restrict line, int64_t channel, int64_t at) {
    float *restrict out = task->out + at;
    int64_t width = task->width;
    if (!task->scale) {
        memcpy(out, line, width * sizeof *out);
        return;
    }
    float scale = task->scale[channel], shift = task->shift[channel];
    const float *restrict residual = task->residual ? task->residual + at : NULL;
    if (residual)
        for (int64_t i = 0; i < width; i++)
            out[i] = residual[i] + (scale * line[i] + shift);
    else
        for (int64_t i = 0; i < width; i++) {
            float normalised = scale * line[i] + shift;
            out[i] = normalised < 0 ? 0 : normalised; /* NaN stays */
        }
}

/* Down the windows p + q + r, or p - q - r, each of ALONG places `plane` apart -> a line of the tiles' pixels. */
static void transform_line_back(const float *restrict p, const float *restrict q, const float *restrict r, float sign,
                                int64_t across, int64_t plane, float *restrict line) {
    for (int64_t t = 0; t < across; t++) {
        float sums[ALONG];
        for (int column = 0; column < ALONG; column++) {
            int64_t i = t + column * plane;
            sums[column] = p[i] + sign * q[i] + sign * r[i];
        }
        float near = sums[1] + sums[2], far = sums[3] + sums[4];
        float near_odd = NEAR * (sums[1] - sums[2]), far_odd = FAR * (sums[3] - sums[4]);
        line[TILE * t] = sums[0] + near + far;
        line[TILE * t + 1] = near_odd + far_odd;
        line[TILE * t + 2] = NEAR2 * near + FAR2 * far;
        line[TILE * t + 3] = NEAR2 * near_odd + FAR2 * far_odd + sums[5];
    }
}

/* (PLACES, out_channels, tiles) -> a strip of a sample of out. */
static void transform_back(const Conv *task, const float *products, int64_t first, float *line, int64_t sample) {
    int64_t across = task->across, tiles = task->rows * across, plane = task->out_channels * tiles;
    for (int64_t channel = 0; channel < task->out_channels; channel++)
        for (int64_t row = 0; row < task->rows; row++) {
            int64_t y = 2 * (first + row);
            const float *at = products + channel * tiles + row * across;
            for (int down = 0; down < 2 && y + down < task->height; down++) {
                const float *p = at + down * ALONG * plane, *q = p + ALONG * plane, *r = q + ALONG * plane;
                transform_line_back(p, q, r, down ? -1.0f : 1.0f, across, plane, line);
                finish_line(task, line, channel,
                            ((sample * task->out_channels + channel) * task->height + y + down) * task->width);
            }
        }
}

/* Items are strips of all samples. */
static void conv_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Conv *task = argument;
    int64_t tiles = task->rows * task->across, map = task->height * task->width;
    float *windows = task->scratch + worker * task->scratch_size, *products = windows + PLACES * task->channels * tiles;
    float *line = products + PLACES * task->out_channels * tiles;
    for (int64_t item = begin; item < end; item++) {
        int64_t sample = item / strips_of(task), first = item % strips_of(task) * task->rows;
        transform_windows(task, task->x + sample * task->channels * map, first, line, windows);
        for (int place = 0; place < PLACES; place++) {
            Matrix weights = {task->weights + place * task->out_channels * task->channels, task->channels, 0};
            Matrix inputs = {windows + place * task->channels * tiles, tiles, 0};
            product(task->sgemm, task->out_channels, tiles, task->channels, weights, inputs, 0,
                    products + place * task->out_channels * tiles, tiles);
        }
        transform_back(task, products, first, line, sample);
    }
}

static Shape conv_shape(int *ranks, int64_t **shapes) {
    Shape shape = shape_of_first(ranks, shapes);
    if (shape.begin && ranks[0] == 4 && ranks[1] == 4)
        shape.begin[1] = shapes[1][0];
    return shape;
}

/* A convolution whose arrays, weight, out_channels and turned the task has; x (samples, channels, height, width). */
static Status run(Conv task, int64_t samples) {
    if (!(samples * task.out_channels * task.height * task.width))
        return DONE;
    task.sgemm = find_sgemm();
    task.across = (task.width + TILE - 1) / TILE;
    int64_t tiles_down = (task.height + 1) / 2;
    int64_t most = TILES / task.across < 1 ? 1 : TILES / task.across, strips = (tiles_down + most - 1) / most;
    strips += strips % 2; /* an even number, of the same size, for two cores as for more */
    task.rows = (tiles_down + strips - 1) / strips;
    int64_t tiles = task.rows * task.across;
    task.scratch_size = PLACES * (task.channels + task.out_channels) * tiles + DOWN * (TILE * task.across + 2);
    int64_t items = samples * strips_of(&task), weights = PLACES * task.out_channels * task.channels;
    int64_t parts = parts_for(samples * task.channels * task.height * task.width * task.out_channels);
    /* Two of them: more than 32 MB at once glibc asks the system for each time, page by page. */
    task.weights = malloc(weights * sizeof *task.weights);
    task.scratch = malloc(workers() * task.scratch_size * sizeof *task.scratch);
    if (!task.weights || !task.scratch) {
        free(task.weights);
        free(task.scratch);
        return NO_MEMORY;
    }
    parallel_for(weights_part, &task, task.out_channels, parts);
    parallel_for(conv_part, &task, items, parts);
    free(task.weights);
    free(task.scratch);
    return DONE;
}

/* Inputs: x, weight; with a norm its scale and shift; with a residual, which needs a norm, that. */
static Status convolve(ARGUMENTS, int with_norm, int with_residual) {
    if (!types_are(with_residual ? "ffffff" : with_norm ? "fffff" : "fff", count, types))
        return WRONG_TYPE;
    const int64_t *x = shapes[0], *weight = shapes[1];
    if (ranks[0] != 4 || !same_shape(4, (int64_t[]){weight[0], x[1], 3, 3}, ranks[1], weight))
        return WRONG_SHAPE;
    for (int array = 2; array < 2 + 2 * with_norm; array++)
        if (!same_shape(1, weight, ranks[array], shapes[array]))
            return WRONG_SHAPE;
    for (int array = 2 + 2 * with_norm; array < count; array++)
        if (!same_shape(4, (int64_t[]){x[0], weight[0], x[2], x[3]}, ranks[array], shapes[array]))
            return WRONG_SHAPE;
    Conv task = {.x = params[0], .weight = params[1], .out = params[count - 1], .channels = x[1],
                 .out_channels = weight[0], .height = x[2], .width = x[3]};
    if (with_norm)
        task.scale = params[2], task.shift = params[3];
    if (with_residual)
        task.residual = params[4];
    return run(task, x[0]);
}

Shape conv3x3InferShape(int *ranks, int64_t **shapes, void *extra) { return conv_shape(ranks, shapes); }
Shape conv3x3_norm_reluInferShape(int *ranks, int64_t **shapes, void *extra) { return conv_shape(ranks, shapes); }
Shape conv3x3_norm_residualInferShape(int *ranks, int64_t **shapes, void *extra) { return conv_shape(ranks, shapes); }

/* x (N, channels, H, W), weight (out_channels, channels, 3, 3) -> (N, out_channels, H, W). */
int conv3x3(ARGUMENTS) { return convolve(count, params, ranks, shapes, types, stream, extra, 0, 0); }

/* x, weight, scale (out_channels), shift (out_channels) -> ReLU of scale conv3x3(x, weight) + shift, by channels. */
int conv3x3_norm_relu(ARGUMENTS) { return convolve(count, params, ranks, shapes, types, stream, extra, 1, 0); }

/* x, weight, scale, shift, residual (N, out_channels, H, W) -> residual + scale conv3x3(x, weight) + shift. */
int conv3x3_norm_residual(ARGUMENTS) { return convolve(count, params, ranks, shapes, types, stream, extra, 1, 1); }

/* ----------------------------------------------------------------------------------------------------- gradients */

/* x, weight, gradient of the output -> gradient of x. */
int conv3x3_x_grad(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    const int64_t *x = shapes[0], *weight = shapes[1], *grad = shapes[2];
    if (ranks[0] != 4 || ranks[2] != 4 || !same_shape(4, (int64_t[]){x[0], grad[1], x[2], x[3]}, 4, grad) ||
        !same_shape(4, (int64_t[]){grad[1], x[1], 3, 3}, ranks[1], weight) || !same_shape(4, x, ranks[3], shapes[3]))
        return WRONG_SHAPE;
    return run((Conv){.x = params[2], .weight = params[1], .out = params[3], .turned = 1, .channels = weight[0],
                      .out_channels = x[1], .height = x[2], .width = x[3]},
               x[0]);
}

enum { POSITIONS = 1024, TAPS = 9 }; /* positions, about, whose neighbours are laid out for one product */

typedef struct {
    const float *x, *out_grad;
    float *out, *scratch; /* scratch: the neighbours of each worker, (a block's channels, TAPS, positions) */
    Sgemm sgemm;
    int64_t samples, channels, out_channels, height, width;
    int64_t block, rows;  /* channels of an item, and rows of the map that are laid out together */
    int64_t scratch_size; /* of a worker */
} WeightGrad;

/* Rows first .. first + rows - 1 of a channel, moved by a tap, with zeros around the map. */
static void lay_out(const WeightGrad *task, const float *x, int64_t first, int64_t rows, int tap, float *out) {
    int64_t width = task->width, across = tap % 3 - 1, begin = across < 0, end = width - (across > 0);
    for (int64_t row = 0; row < rows; row++, out += width) {
        int64_t y = first + row + tap / 3 - 1;
        if (y < 0 || y >= task->height) {
            memset(out, 0, width * sizeof *out);
            continue;
        }
        out[0] = out[width - 1] = 0;
        if (end > begin)
            memcpy(out + begin, x + y * width + begin + across, (end - begin) * sizeof *out);
    }
}

/* Items are blocks of channels: a sum over positions and samples is one thread's. */
static void weight_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const WeightGrad *task = argument;
    int64_t map = task->height * task->width, stride = task->channels * TAPS;
    float *neighbours = task->scratch + worker * task->scratch_size;
    for (int64_t item = begin; item < end; item++) {
        int64_t channel = item * task->block, left = task->channels - channel;
        int64_t channels = left < task->block ? left : task->block;
        for (int64_t sample = 0; sample < task->samples; sample++)
            for (int64_t first = 0; first < task->height; first += task->rows) {
                int64_t rows = task->height - first < task->rows ? task->height - first : task->rows;
                int64_t positions = rows * task->width;
                for (int64_t c = 0; c < channels; c++)
                    for (int tap = 0; tap < TAPS; tap++)
                        lay_out(task, task->x + (sample * task->channels + channel + c) * map, first, rows, tap,
                                neighbours + (c * TAPS + tap) * positions);
                const float *grad = task->out_grad + sample * task->out_channels * map + first * task->width;
                product(task->sgemm, task->out_channels, channels * TAPS, positions, (Matrix){grad, map, 0},
                        (Matrix){neighbours, positions, 1}, sample || first, task->out + channel * TAPS, stride);
            }
    }
}

/* weight, x, gradient of the output -> gradient of the weight. */
int conv3x3_weight_grad(ARGUMENTS) {
    if (!types_are("ffff", count, types))
        return WRONG_TYPE;
    const int64_t *weight = shapes[0], *x = shapes[1];
    if (ranks[1] != 4 || x[1] < 1 || !same_shape(4, (int64_t[]){weight[0], x[1], 3, 3}, ranks[0], weight) ||
        !same_shape(4, (int64_t[]){x[0], weight[0], x[2], x[3]}, ranks[2], shapes[2]) ||
        !same_shape(4, weight, ranks[3], shapes[3]))
        return WRONG_SHAPE;
    WeightGrad task = {.x = params[1], .out_grad = params[2], .out = params[3], .sgemm = find_sgemm(), .samples = x[0],
                       .channels = x[1], .out_channels = weight[0], .height = x[2], .width = x[3]};
    if (!size(4, x)) {
        memset(task.out, 0, size(4, weight) * sizeof *task.out);
        return DONE;
    }
    task.block = task.channels >= 512 ? 64 : task.channels >= 64 ? 16 : 4;
    task.rows = POSITIONS / task.width < 1 ? 1 : POSITIONS / task.width;
    task.scratch_size = task.block * TAPS * task.rows * task.width;
    task.scratch = malloc(workers() * task.scratch_size * sizeof *task.scratch);
    if (!task.scratch)
        return NO_MEMORY;
    parallel_for(weight_grad_part, &task, (task.channels + task.block - 1) / task.block,
                 parts_for(size(4, x) * task.out_channels));
    free(task.scratch);
    return DONE;
}
