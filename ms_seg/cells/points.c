/* Masks at points, where they are compared and learned (PointRend, arXiv:1912.08193, section 3.3).

   Maps are (maps, h, w); `rows`, int32, says which of them are meant, -1 standing for none: its answers are zeros. Points
   are (x, y), from 0 to 1. */

#include "bilinear.h"

typedef struct {
    const void *maps;
    const int32_t *rows;
    const float *points, *gradient;
    float *out, *room; /* room: for a row's samples, of each thread */
    int64_t height, width, row_count, count, sharing, kept; /* count: points of a row; sharing: rows with the same */
    int bytes;                                              /* whether maps are uint8 */
} Points;

static inline Corners corners_at(const float *point, const Points *task) {
    return corners_of(point[1] * task->height - 0.5f, point[0] * task->width - 0.5f, task->height, task->width);
}

#define BLOCK 256 /* points whose corners are found once for all rows that share them */

typedef struct {
    int32_t pixels[4];
    float shares[4];
} Place;

static inline __attribute__((always_inline)) void sample_block(const Points *task, int64_t row, const Place *places,
                                                               int64_t count, int bytes, float *restrict out) {
    int64_t map = task->rows[row] * task->height * task->width;
    const uint8_t *small = (const uint8_t *)task->maps + map;
    const float *values = (const float *)task->maps + map;
    for (int64_t i = 0; i < count; i++) {
        float sum = 0;
        for (int corner = 0; corner < 4; corner++) {
            int64_t pixel = places[i].pixels[corner];
            sum += places[i].shares[corner] * (bytes ? small[pixel] : values[pixel]);
        }
        out[i] = sum;
    }
}

/* Rows that share their points. */
static void sample_rows(const Points *task, int64_t begin, int64_t end, float *out) {
    const float *point = task->points + begin / task->sharing * task->count * 2;
    Place places[BLOCK];
    for (int64_t first = 0; first < task->count; first += BLOCK) {
        int64_t count = task->count - first < BLOCK ? task->count - first : BLOCK;
        for (int64_t i = 0; i < count; i++, point += 2) {
            Corners corners = corners_at(point, task);
            shares_of(&corners, places[i].shares);
            for (int corner = 0; corner < 4; corner++)
                places[i].pixels[corner] = (int32_t)corners.pixels[corner];
        }
        for (int64_t row = begin; row < end; row++) {
            float *of_row = out + (row - begin) * task->count + first;
            if (task->rows[row] < 0)
                memset(of_row, 0, count * sizeof *of_row);
            else if (task->bytes)
                sample_block(task, row, places, count, 1, of_row);
            else
                sample_block(task, row, places, count, 0, of_row);
        }
    }
}

static void sample_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Points *task = argument;
    while (begin < end) {
        int64_t others = (begin / task->sharing + 1) * task->sharing, stop = others < end ? others : end;
        sample_rows(task, begin, stop, task->out + begin * task->count);
        begin = stop;
    }
}

/* Items are maps: a map's gradient is that of all rows which mean it. */
static void spread_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Points *task = argument;
    int64_t area = task->height * task->width;
    memset(task->out + begin * area, 0, (end - begin) * area * sizeof *task->out);
    for (int64_t row = 0; row < task->row_count; row++) {
        if (task->rows[row] < begin || task->rows[row] >= end)
            continue;
        float *map = task->out + task->rows[row] * area;
        const float *points = task->points + row / task->sharing * task->count * 2;
        const float *gradient = task->gradient + row * task->count;
        for (int64_t point = 0; point < task->count; point++) {
            Corners corners = corners_at(points + 2 * point, task);
            float shares[4];
            shares_of(&corners, shares);
            for (int corner = 0; corner < 4; corner++)
                map[corners.pixels[corner]] += shares[corner] * gradient[point];
        }
    }
}

/* The bits of |x|, which are in the order of |x|. */
static inline uint32_t magnitude(float x) {
    union { float value; uint32_t bits; } number = {x};
    return number.bits & 0x7fffffff;
}

/* The kept-th smallest magnitude, found by its highest bits first; `less` is how many are smaller. */
static uint32_t smallest(const float *samples, int64_t count, int64_t kept, int64_t *less) {
    static const int SHIFTS[] = {20, 10, 0};
    uint32_t found = 0, known = 0;
    *less = 0;
    for (int pass = 0; pass < 3; pass++) {
        int64_t histogram[2048] = {0}, bin = 0;
        for (int64_t i = 0; i < count; i++) {
            uint32_t bits = magnitude(samples[i]);
            if ((bits & known) == found)
                histogram[bits >> SHIFTS[pass] & (pass ? 1023 : 2047)]++;
        }
        while (*less + histogram[bin] < kept)
            *less += histogram[bin++];
        found |= (uint32_t)bin << SHIFTS[pass];
        known |= (pass ? 1023u : 2047u) << SHIFTS[pass];
    }
    return found;
}

static void uncertain_part(const void *argument, int64_t begin, int64_t end, int part) {
    const Points *task = argument;
    float *samples = task->room + part * task->count;
    for (int64_t row = begin; row < end; row++) {
        const float *candidate = task->points + row * task->count * 2;
        float *out = task->out + row * task->kept * 2;
        if (task->rows[row] < 0 || !task->kept) {
            memset(out, 0, task->kept * 2 * sizeof *out);
            continue;
        }
        sample_rows(task, row, row + 1, samples);
        int64_t less;
        uint32_t limit = smallest(samples, task->count, task->kept, &less);
        int64_t equal = task->kept - less; /* how many of those at the limit are taken */
        for (int64_t i = 0; i < task->count; i++, candidate += 2) {
            uint32_t bits = magnitude(samples[i]);
            if (bits < limit || (bits == limit && equal-- > 0)) {
                *out++ = candidate[0];
                *out++ = candidate[1];
            }
        }
    }
}

static Points points_of(int64_t **shapes, void **params, const char **types) {
    Points task = {.maps = params[0], .rows = params[1], .points = params[2]};
    task.height = shapes[0][1], task.width = shapes[0][2], task.row_count = shapes[1][0], task.count = shapes[2][1];
    task.sharing = task.row_count / shapes[2][0], task.bytes = !strcmp(types[0], "uint8");
    return task;
}

/* maps (maps, h, w) of float32 or uint8, rows (K), points (G, P, 2), of which each is for K / G rows -> (K, P). */
int sample_points(ARGUMENTS) {
    Points task = points_of(shapes, params, types);
    task.out = params[3];
    divide(sample_part, &task, task.row_count, parts_for(8 * task.row_count * task.count));
    return 0;
}

/* maps, rows, points, gradient of the output (K, P) -> gradient of maps. */
int sample_points_gradient(ARGUMENTS) {
    Points task = points_of(shapes, params, types);
    task.gradient = params[3], task.out = params[4];
    divide(spread_part, &task, shapes[0][0], parts_for(size(3, shapes[0])));
    return 0;
}

/* maps, rows (K), points (K, P, 2), any array (kept) -> of each row's points those where its map is nearest to zero,
   (K, kept, 2). */
int uncertain_points(ARGUMENTS) {
    Points task = points_of(shapes, params, types);
    task.out = params[4], task.kept = shapes[3][0];
    int parts = parts_for(8 * task.row_count * task.count);
    task.room = malloc(parts * task.count * sizeof *task.room + 1);
    if (!task.room)
        return 1;
    divide(uncertain_part, &task, task.row_count, parts);
    free(task.room);
    return 0;
}
