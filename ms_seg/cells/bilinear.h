/* Bilinear samples of a map, zeros beyond its edges. */

#ifndef BILINEAR_H
#define BILINEAR_H
#include "threads.h"

/* The pixels around a sample: where each one is in its map, 0 or 1 for whether it is there at all (it stands for the
   first one if not), and how far the sample is from the first row and column. */
typedef struct {
    int64_t pixels[4];
    float there[4], down, across;
} Corners;

static inline Corners corners_of(float y, float x, int64_t height, int64_t width) {
    int near = y > -1 && x > -1 && y < height && x < width; /* not of what is no number */
    float top = near ? floorf(y) : -2, left = near ? floorf(x) : -2;
    Corners corners = {.down = near ? y - top : 0, .across = near ? x - left : 0};
    for (int corner = 0; corner < 4; corner++) {
        int64_t row = (int64_t)top + corner / 2, column = (int64_t)left + corner % 2;
        int there = row >= 0 && column >= 0 && row < height && column < width;
        corners.there[corner] = there;
        corners.pixels[corner] = there ? row * width + column : 0;
    }
    return corners;
}

/* How much of the sample each corner is. */
static inline void shares_of(const Corners *corners, float *shares) {
    float down = corners->down, across = corners->across;
    shares[0] = (1 - down) * (1 - across) * corners->there[0];
    shares[1] = (1 - down) * across * corners->there[1];
    shares[2] = down * (1 - across) * corners->there[2];
    shares[3] = down * across * corners->there[3];
}

#endif
