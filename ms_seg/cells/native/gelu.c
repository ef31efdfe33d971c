/* GELU with the exact normal distribution function Phi: arXiv:1606.08415. */

#include "operator.h"

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

typedef struct { const float *x, *out_grad; float *out; } Elementwise;

static void gelu_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Elementwise *task = argument;
    const float *restrict x = task->x;
    float *restrict out = task->out;
    for (int64_t i = begin; i < end; i++)
        out[i] = 0.5f * x[i] * (1.0f + error_function(x[i] * 0.70710678118654752f));
}

static void gelu_grad_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Elementwise *task = argument;
    const float *restrict x = task->x, *restrict out_grad = task->out_grad;
    float *restrict out = task->out;
    for (int64_t i = begin; i < end; i++) {
        float distribution = 0.5f + 0.5f * error_function(x[i] * 0.70710678118654752f);
        float density = 0.39894228040143268f * exponential(-0.5f * x[i] * x[i]);
        out[i] = out_grad[i] * (distribution + x[i] * density);
    }
}

Shape geluInferShape(int *ranks, int64_t **shapes, void *extra) { return shape_of_first(ranks, shapes); }

/* x of any shape -> x Phi(x). */
int gelu(ARGUMENTS) {
    if (!types_are("ff", count, types))
        return WRONG_TYPE;
    if (!same_shape(ranks[0], shapes[0], ranks[1], shapes[1]))
        return WRONG_SHAPE;
    Elementwise task = {params[0], NULL, params[1]};
    int64_t elements = size(ranks[0], shapes[0]);
    parallel_for(gelu_part, &task, elements, parts_for(elements));
    return DONE;
}

/* x, gradient of the output -> gradient of x. */
int gelu_grad(ARGUMENTS) {
    if (!types_are("fff", count, types))
        return WRONG_TYPE;
    for (int other = 1; other < count; other++)
        if (!same_shape(ranks[0], shapes[0], ranks[other], shapes[other]))
            return WRONG_SHAPE;
    Elementwise task = {params[0], params[1], params[2]};
    int64_t elements = size(ranks[0], shapes[0]);
    parallel_for(gelu_grad_part, &task, elements, parts_for(elements));
    return DONE;
}
