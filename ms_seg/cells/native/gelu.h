/* GELU of a number, and its approximation, for operators that have it as their last step. */

#ifndef GELU_H
#define GELU_H
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

static inline float gelu_of(float x) { return 0.5f * x * (1.0f + error_function(x * 0.70710678118654752f)); }

/* x sigmoid(1.702 x), of an exponential that does not overflow, and is 0 where it would be next to it. */
static inline float quick_gelu_of(float x) {
    float exponent = -1.702f * (x < 0 ? -x : x), falling = exponent < -87.0f ? 0 : exponential(exponent);
    return (x < 0 ? x * falling : x) / (1.0f + falling);
}

#endif
