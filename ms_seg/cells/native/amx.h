/* Products of matrices in bfloat16 by a processor's matrix unit (Intel AMX), whose tiles are 16 rows of 64 bytes.

   MindSpore's oneDNN does not use it in its gemm: on a Xeon with AMX that takes longer than its sgemm, and this a
   fraction. x (rows, deep) is row by row; of the weight (channels, deep), 16 channels and 32 of `deep` are a tile, in
   which a row holds two numbers of each channel. What is missing of a whole tile are zeros. */

#ifndef AMX_H
#define AMX_H
#include "operator.h"

typedef uint16_t Bfloat16;

enum { TILE = 16, DEEP_TILE = 32, BLOCK = 2 * TILE }; /* a block of the output is 2 x 2 tiles */

static inline int64_t whole(int64_t count, int64_t of) { return (count + of - 1) / of * of; }

#ifdef __AMX_BF16__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether the system lets this process use tiles, which must be asked for (Linux: ARCH_REQ_XCOMP_PERM, XTILEDATA). */
static inline int has_amx(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

static inline void begin_tiles(void) { /* in each thread, before amx_product; end_tiles after it */
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16]; /* of a row */
        uint8_t rows[16];
    } shapes = {.palette = 1};
    for (int tile = 0; tile < 8; tile++)
        shapes.bytes[tile] = 64, shapes.rows[tile] = TILE;
    _tile_loadconfig(&shapes);
}

static inline void end_tiles(void) { _tile_release(); }

/* out (rows, channels), whose rows are `stride` apart, = x weight^T. x may be read up to whole(rows, BLOCK), the weight's
   tiles up to whole(channels, BLOCK). */
static inline void amx_product(int64_t rows, int64_t channels, int64_t deep, const Bfloat16 *x, const Bfloat16 *tiles,
                               float *out, int64_t stride) {
    float edge[BLOCK * BLOCK];
    int64_t of_tile = TILE * DEEP_TILE, lower = TILE * deep, right = TILE * deep; /* the next 16 channels' tiles */
    for (int64_t column = 0; column < channels; column += BLOCK)
        for (int64_t row = 0; row < rows; row += BLOCK) {
            const Bfloat16 *left = x + row * deep, *weight = tiles + column * deep;
            int64_t height = rows - row < BLOCK ? rows - row : BLOCK;
            int64_t width = channels - column < BLOCK ? channels - column : BLOCK;
            int inside = height == BLOCK && width == BLOCK;
            float *to = inside ? out + row * stride + column : edge;
            int64_t to_stride = inside ? stride : BLOCK;
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
            for (int64_t k = 0; k < deep; k += DEEP_TILE) {
                const Bfloat16 *tile = weight + k / DEEP_TILE * of_tile;
                _tile_loadd(4, left + k, deep * sizeof *x);
                _tile_loadd(5, left + lower + k, deep * sizeof *x);
                _tile_loadd(6, tile, 64);
                _tile_loadd(7, tile + right, 64);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
            _tile_stored(0, to, to_stride * sizeof *to);
            _tile_stored(1, to + TILE, to_stride * sizeof *to);
            _tile_stored(2, to + TILE * to_stride, to_stride * sizeof *to);
            _tile_stored(3, to + TILE * to_stride + TILE, to_stride * sizeof *to);
            for (int64_t i = 0; i < height && !inside; i++)
                memcpy(out + (row + i) * stride + column, edge + i * BLOCK, width * sizeof *out);
        }
}

#else /* a processor without */

static inline int has_amx(void) { return 0; }
static inline void begin_tiles(void) {}
static inline void end_tiles(void) {}
static inline void amx_product(int64_t rows, int64_t channels, int64_t deep, const Bfloat16 *x, const Bfloat16 *tiles,
                               float *out, int64_t stride) {}

#endif
#endif
