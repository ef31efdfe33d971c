/* The softmax of a row. */

#ifndef SOFTMAX_H
#define SOFTMAX_H
#include "operator.h"

#define LANES 16

static inline float highest_of(const float *row, int64_t keys) { /* which NaN is not */
    float lanes[LANES], highest = -INFINITY;
    for (int lane = 0; lane < LANES; lane++)
        lanes[lane] = -INFINITY;
    int64_t k = 0;
    for (; k + LANES <= keys; k += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] = row[k + lane] > lanes[lane] ? row[k + lane] : lanes[lane];
    for (; k < keys; k++)
        highest = row[k] > highest ? row[k] : highest;
    for (int lane = 0; lane < LANES; lane++)
        highest = lanes[lane] > highest ? lanes[lane] : highest;
    return highest;
}

/* The row becomes exp(row - highest); returns their sum. */
static inline float exponentiate(float *restrict row, int64_t keys, float highest) {
    float sum = 0;
    for (int64_t k = 0; k < keys; k++) {
        float below = row[k] - highest;
        float power = exponential(below);
        power = below < -87.0f ? 0.0f : power; /* where `exponential` stops falling */
        row[k] = power;
        sum += power;
    }
    return sum;
}

static inline void scale_row(float *restrict row, int64_t size, float scale) {
    for (int64_t k = 0; k < size; k++)
        row[k] *= scale;
}

/* scores_grad (keys), the gradient of the softmax, becomes that of the scores; weights are the softmax. */
static inline void softmax_grad(const float *restrict weights, float *restrict scores_grad, int64_t keys) {
    float mean = 0;
    for (int64_t k = 0; k < keys; k++)
        mean += weights[k] * scores_grad[k];
    for (int64_t k = 0; k < keys; k++)
        scores_grad[k] = weights[k] * (scores_grad[k] - mean);
}

#endif
