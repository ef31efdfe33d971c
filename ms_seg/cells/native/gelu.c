/* GELU with the exact normal distribution function Phi: arXiv:1606.08415. */

#include "gelu.h"

typedef struct { const float *x, *out_grad; float *out; } Elementwise;

static void gelu_part(const void *argument, int64_t begin, int64_t end, int worker) {
    const Elementwise *task = argument;
    const float *restrict x = task->x;
    float *restrict out = task->out;
    for (int64_t i = begin; i < end; i++)
        out[i] = gelu_of(x[i]);
}

static void gelu_grad_part(const void *argument, int64_t begin, int64_t end, int worker) {
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
