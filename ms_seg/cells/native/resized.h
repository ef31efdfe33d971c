/* Bilinear resizing, in rows and then in columns or the other way round. */

#ifndef RESIZED_H
#define RESIZED_H
#include "operator.h"

/* The two positions of `from` that position `to` of `size` lies between, and how far it is from the first: half-pixel
   centres, as PyTorch's align_corners=False; or `corners`, where the first and the last are the first and the last. */
typedef struct {
    int64_t lower, upper;
    float across;
} Between;

static inline Between between(int64_t to, int64_t size, int64_t from, int corners) {
    double place = !corners ? (to + 0.5) * from / size - 0.5 : size > 1 ? to * (double)(from - 1) / (size - 1) : 0;
    place = place < 0 ? 0 : place;
    int64_t lower = (int64_t)place < from - 1 ? (int64_t)place : from - 1;
    return (Between){lower, lower + 1 < from ? lower + 1 : lower, (float)(place - lower)};
}

static inline float mix(float a, float b, float across) { return (1 - across) * a + across * b; }

#endif
