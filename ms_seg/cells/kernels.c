/* Operators that MindSpore's CPU backend runs many times slower than memory allows, in one pass each. */

#include "threads.h"

#include "exponential.h"

/* ------------------------------------------------------------------------------------------------------- GELU */

/* The error function, to 2 units in the last place: the rational approximation that Eigen and XLA use. */
static inline float error_function(float x) {
    x = x < -4.0f ? -4.0f : x > 4.0f ? 4.0f : x; /* fminf and fmaxf would keep it out of the vector units */
    float s = x * x;
    float p = -2.72614225801306e-10f;
    p = p * s + 2.77068142495902e-08f;
    p = p * s + -2.10102402082508e-06f;
    p = p * s + -5.69250639462346e-05f;
    p = p * s + -7.34990630326855e-04f;
    p = p * s + -2.95459980854025e-03f;
    p = p * s + -1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * s + -2.13374055278905e-04f;
    q = q * s + -1.68282697438203e-03f;
    q = q * s + -7.37332916720468e-03f;
    q = q * s + -1.42647390514189e-02f;
    return x * p / q;
}

typedef struct { const float *x, *gradient; float *out; } Elementwise;

static void gelu_part(const void *task, int64_t begin, int64_t end, int part) {
    const Elementwise *arrays = task;
    const float *restrict x = arrays->x;
    float *restrict out = arrays->out;
    for (int64_t i = begin; i < end; i++)
        out[i] = 0.5f * x[i] * (1.0f + error_function(x[i] * 0.70710678118654752f));
}

static void gelu_gradient_part(const void *task, int64_t begin, int64_t end, int part) {
    const Elementwise *arrays = task;
    const float *restrict x = arrays->x, *restrict gradient = arrays->gradient;
    float *restrict out = arrays->out;
    for (int64_t i = begin; i < end; i++) {
        float distribution = 0.5f + 0.5f * error_function(x[i] * 0.70710678118654752f);
        float density = 0.39894228040143268f * exponential(-0.5f * x[i] * x[i]);
        out[i] = gradient[i] * (distribution + x[i] * density);
    }
}

Shape geluInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x -> x Phi(x). */
int gelu(ARGUMENTS) {
    Elementwise task = {params[0], NULL, params[1]};
    int64_t elements = size(ranks[0], shapes[0]);
    divide(gelu_part, &task, elements, parts_for(elements));
    return 0;
}

/* x, gradient of the output -> gradient of x. */
int gelu_gradient(ARGUMENTS) {
    Elementwise task = {params[0], params[1], params[2]};
    int64_t elements = size(ranks[0], shapes[0]);
    divide(gelu_gradient_part, &task, elements, parts_for(elements));
    return 0;
}

/* -------------------------------------------------------------------------------------------------- LayerNorm */

typedef struct {
    const float *x, *gamma, *beta, *gradient;
    float *out, *partial; /* partial: gradients of gamma and beta of each part */
    float epsilon;
    int64_t channels;
} Norm;

static inline void moments(const float *restrict row, int64_t channels, float epsilon, float *mean, float *scale) {
    float sum = 0, squares = 0;
    for (int64_t c = 0; c < channels; c++)
        sum += row[c];
    *mean = sum / channels;
    for (int64_t c = 0; c < channels; c++)
        squares += (row[c] - *mean) * (row[c] - *mean);
    *scale = 1.0f / sqrtf(squares / channels + epsilon);
}

static void layer_norm_part(const void *task, int64_t begin, int64_t end, int part) {
    const Norm *norm = task;
    int64_t channels = norm->channels;
    const float *restrict gamma = norm->gamma, *restrict beta = norm->beta;
    for (int64_t i = begin; i < end; i++) {
        const float *restrict row = norm->x + i * channels;
        float *restrict out = norm->out + i * channels, mean, scale;
        moments(row, channels, norm->epsilon, &mean, &scale);
        for (int64_t c = 0; c < channels; c++)
            out[c] = (row[c] - mean) * scale * gamma[c] + beta[c];
    }
}

static void layer_norm_gradient_part(const void *task, int64_t begin, int64_t end, int part) {
    const Norm *norm = task;
    int64_t channels = norm->channels;
    const float *restrict gamma = norm->gamma;
    float *restrict of_gamma = norm->partial + 2 * part * channels, *restrict of_beta = of_gamma + channels;
    for (int64_t i = begin; i < end; i++) {
        const float *restrict row = norm->x + i * channels, *restrict gradient = norm->gradient + i * channels;
        float *restrict out = norm->out + i * channels, mean, scale, sum = 0, product = 0;
        moments(row, channels, norm->epsilon, &mean, &scale);
        for (int64_t c = 0; c < channels; c++) {
            float normal = (row[c] - mean) * scale, weighted = gradient[c] * gamma[c];
            sum += weighted;
            product += weighted * normal;
            of_gamma[c] += gradient[c] * normal;
            of_beta[c] += gradient[c];
        }
        sum /= channels;
        product /= channels;
        for (int64_t c = 0; c < channels; c++)
            out[c] = scale * (gradient[c] * gamma[c] - sum - (row[c] - mean) * scale * product);
    }
}

Shape layer_normInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (..., C), gamma (C), beta (C), epsilon () -> (..., C). */
int layer_norm(ARGUMENTS) {
    int64_t channels = shapes[1][0], elements = size(ranks[0], shapes[0]);
    Norm task = {params[0], params[1], params[2], NULL, params[4], NULL, *(float *)params[3], channels};
    divide(layer_norm_part, &task, elements / channels, parts_for(elements));
    return 0;
}

/* x (..., C), gamma (C), beta (C), epsilon (), gradient of the output -> gradients of x, gamma, beta. */
int layer_norm_gradient(ARGUMENTS) {
    int64_t channels = shapes[1][0], elements = size(ranks[0], shapes[0]);
    int parts = parts_for(elements);
    float *partial = calloc(2 * parts * channels, sizeof *partial);
    if (!partial)
        return 1;
    Norm task = {params[0], params[1], NULL, params[4], params[5], partial, *(float *)params[3], channels};
    divide(layer_norm_gradient_part, &task, elements / channels, parts);
    float *of_gamma = params[6], *of_beta = params[7];
    memcpy(of_gamma, partial, channels * sizeof *partial);
    memcpy(of_beta, partial + channels, channels * sizeof *partial);
    for (int part = 1; part < parts; part++)
        for (int64_t c = 0; c < channels; c++) {
            of_gamma[c] += partial[2 * part * channels + c];
            of_beta[c] += partial[(2 * part + 1) * channels + c];
        }
    free(partial);
    return 0;
}

/* ------------------------------------------------------------------------------- depthwise 3x3 convolution */

typedef struct {
    const float *x, *weight, *gradient, *zeros; /* zeros: a row beyond the edge */
    float *out, *of_weight;
    int64_t samples, channels, height, width;
} Depthwise;

static const float *row_of(const float *plane, int64_t y, const Depthwise *conv) {
    return y < 0 || y >= conv->height ? conv->zeros : plane + y * conv->width;
}

static void correlate(const Depthwise *conv, const float *plane, const float *w, float *out_plane) {
    int64_t width = conv->width;
    for (int64_t y = 0; y < conv->height; y++) {
        const float *restrict a = row_of(plane, y - 1, conv), *restrict b = row_of(plane, y, conv);
        const float *restrict c = row_of(plane, y + 1, conv);
        float *restrict out = out_plane + y * width;
        for (int64_t x = 1; x < width - 1; x++)
            out[x] = w[0] * a[x - 1] + w[1] * a[x] + w[2] * a[x + 1] + w[3] * b[x - 1] + w[4] * b[x] + w[5] * b[x + 1] +
                     w[6] * c[x - 1] + w[7] * c[x] + w[8] * c[x + 1];
        int64_t last = width - 1;
        out[0] = w[1] * a[0] + w[4] * b[0] + w[7] * c[0];
        if (width > 1) {
            out[0] += w[2] * a[1] + w[5] * b[1] + w[8] * c[1];
            out[last] = w[0] * a[last - 1] + w[1] * a[last] + w[3] * b[last - 1] + w[4] * b[last] + w[6] * c[last - 1] +
                        w[7] * c[last];
        }
    }
}

static void depthwise_part(const void *task, int64_t begin, int64_t end, int part) {
    const Depthwise *conv = task;
    int64_t area = conv->height * conv->width;
    for (int64_t plane = begin; plane < end; plane++) /* of all samples */
        correlate(conv, conv->x + plane * area, conv->weight + 9 * (plane % conv->channels), conv->out + plane * area);
}

/* Add to sums (3) the products of a row of gradients with a row of inputs shifted by one, by none, by minus one. */
static void products(const float *restrict gradient, const float *restrict row, int64_t width, float *sums) {
    float before = 0, here = gradient[0] * row[0], after = 0;
    for (int64_t x = 1; x < width; x++) {
        before += gradient[x] * row[x - 1];
        here += gradient[x] * row[x];
        after += gradient[x - 1] * row[x];
    }
    sums[0] += before;
    sums[1] += here;
    sums[2] += after;
}

static void depthwise_gradient_part(const void *task, int64_t begin, int64_t end, int part) {
    const Depthwise *conv = task;
    int64_t area = conv->height * conv->width;
    for (int64_t channel = begin; channel < end; channel++) {
        const float *weight = conv->weight + 9 * channel;
        float mirrored[9], sums[9] = {0};
        for (int tap = 0; tap < 9; tap++)
            mirrored[tap] = weight[8 - tap];
        for (int64_t sample = 0; sample < conv->samples; sample++) {
            int64_t offset = (sample * conv->channels + channel) * area;
            const float *x = conv->x + offset, *gradient = conv->gradient + offset;
            correlate(conv, gradient, mirrored, conv->out + offset);
            float of_sample[9] = {0};
            for (int64_t y = 0; y < conv->height; y++, gradient += conv->width)
                for (int tap = 0; tap < 3; tap++)
                    products(gradient, row_of(x, y + tap - 1, conv), conv->width, of_sample + 3 * tap);
            for (int tap = 0; tap < 9; tap++)
                sums[tap] += of_sample[tap];
        }
        memcpy(conv->of_weight + 9 * channel, sums, sizeof sums);
    }
}

static Depthwise depthwise_task(const int64_t *shape, void **params) {
    Depthwise task = {.x = params[0], .weight = params[1]};
    task.samples = shape[0], task.channels = shape[1], task.height = shape[2], task.width = shape[3];
    task.zeros = calloc(task.width, sizeof *task.zeros);
    return task;
}

Shape depthwiseInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x (N, C, H, W), weight (C, 1, 3, 3) -> (N, C, H, W). */
int depthwise(ARGUMENTS) {
    Depthwise task = depthwise_task(shapes[0], params);
    if (!task.zeros)
        return 1;
    task.out = params[2];
    divide(depthwise_part, &task, task.samples * task.channels, parts_for(size(ranks[0], shapes[0])));
    free((void *)task.zeros);
    return 0;
}

/* x, weight, gradient of the output -> gradients of x, weight. */
int depthwise_gradient(ARGUMENTS) {
    Depthwise task = depthwise_task(shapes[0], params);
    if (!task.zeros)
        return 1;
    task.gradient = params[2], task.out = params[3], task.of_weight = params[4];
    divide(depthwise_gradient_part, &task, task.channels, parts_for(size(ranks[0], shapes[0])));
    free((void *)task.zeros);
    return 0;
}
