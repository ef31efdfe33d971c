/* Bilinear samples of maps, zeros beyond their edges. */

#ifndef BILINEAR_H
#define BILINEAR_H
#include "operator.h"

/* The pixels around a sample: where each one is in its map, 0 or 1 for whether it is there at all (if not, it
   stands for the map's first pixel, times 0: NaN there is NaN in samples at an edge), and how far the sample is from the first row and column. */
typedef struct {
    int64_t pixels[4];
    float there[4], down, across;
} Corners;

static inline Corners corners_at(float y, float x, int64_t height, int64_t width) {
    int near = y > -1 && x > -1 && y < height && x < width; /* false for NaN: what follows is converted to integers */
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

/* What each corner counts for in the sample. */
static inline void corner_weights(const Corners *corners, float *weights) {
    float down = corners->down, across = corners->across;
    weights[0] = (1 - down) * (1 - across) * corners->there[0];
    weights[1] = (1 - down) * across * corners->there[1];
    weights[2] = down * (1 - across) * corners->there[2];
    weights[3] = down * across * corners->there[3];
}

/* --------------------------------------------------------------------------------------------- maps at points */

/* Masks where they are compared and learned (PointRend, arXiv:1912.08193, section 3.3). `rows` says which of the maps
   (maps, h, w) are meant, a negative number standing for none: its samples are zeros. Points are (x, y), from 0 to 1. */
typedef struct {
    const void *maps;
    const int32_t *rows;
    const float *points;
    int64_t height, width, row_count, point_count, sharing; /* sharing: how many rows have the same points */
    int bytes;                                              /* whether maps are uint8 */
} Points;

/* Fill `points` from the first three arrays: maps (maps, h, w) of float32 or uint8, rows (K) int32, and points
   (G, P, 2), of which each is for K / G rows. */
static inline Status read_points(const int *ranks, int64_t **shapes, void **params, const char **types,
                                 Points *points) {
    if (ranks[0] != 3 || ranks[1] != 1 || ranks[2] != 3 || shapes[2][2] != 2)
        return WRONG_SHAPE;
    int64_t maps = shapes[0][0], rows = shapes[1][0], groups = shapes[2][0];
    *points = (Points){.maps = params[0], .rows = params[1], .points = params[2], .height = shapes[0][1],
                       .width = shapes[0][2], .row_count = rows, .point_count = shapes[2][1]};
    points->bytes = !strcmp(types[0], "uint8");
    if (rows && (!groups || rows % groups))
        return WRONG_SHAPE;
    points->sharing = rows ? rows / groups : 1;
    if (points->height < 1 || points->width < 1 || points->height > INT32_MAX / points->width)
        return WRONG_SHAPE; /* a pixel's number is an int32 */
    for (int64_t row = 0; row < rows; row++)
        if (points->rows[row] >= maps)
            return WRONG_INDEX;
    return DONE;
}

static inline Corners point_corners(const float *point, const Points *points) {
    return corners_at(point[1] * points->height - 0.5f, point[0] * points->width - 0.5f, points->height,
                      points->width);
}

#define BLOCK 256 /* points whose corners are found once for all rows that share them */

typedef struct {
    int32_t pixels[4];
    float weights[4];
} Sample;

static inline __attribute__((always_inline)) void sample_block(const Points *points, int64_t row, const Sample *samples,
                                                               int64_t count, int bytes, float *restrict out) {
    int64_t map = points->rows[row] * points->height * points->width;
    const uint8_t *small = (const uint8_t *)points->maps + map;
    const float *values = (const float *)points->maps + map;
    for (int64_t i = 0; i < count; i++) {
        float sum = 0;
        for (int corner = 0; corner < 4; corner++) {
            int64_t pixel = samples[i].pixels[corner];
            sum += samples[i].weights[corner] * (bytes ? small[pixel] : values[pixel]);
        }
        out[i] = sum;
    }
}

/* The samples of rows that share their points, (end - begin, P). */
static inline void sample_rows(const Points *points, int64_t begin, int64_t end, float *out) {
    const float *point = points->points + begin / points->sharing * points->point_count * 2;
    Sample samples[BLOCK];
    for (int64_t first = 0; first < points->point_count; first += BLOCK) {
        int64_t count = points->point_count - first < BLOCK ? points->point_count - first : BLOCK;
        for (int64_t i = 0; i < count; i++, point += 2) {
            Corners corners = point_corners(point, points);
            corner_weights(&corners, samples[i].weights);
            for (int corner = 0; corner < 4; corner++)
                samples[i].pixels[corner] = (int32_t)corners.pixels[corner];
        }
        for (int64_t row = begin; row < end; row++) {
            float *row_out = out + (row - begin) * points->point_count + first;
            if (points->rows[row] < 0)
                memset(row_out, 0, count * sizeof *row_out);
            else if (points->bytes)
                sample_block(points, row, samples, count, 1, row_out);
            else
                sample_block(points, row, samples, count, 0, row_out);
        }
    }
}

#endif
