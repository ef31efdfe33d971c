/* The class of each pixel of a block: PAIR * LANES pixels of a row, and the rows below that lie, as it does, between the
   same two rows of values.

   It takes class after class, so that neither the highest class nor a sum over the classes has to be searched for
   across a vector. Between the two rows a value is a straight line. So a class that is lower than another one at both
   ends is nowhere the highest, and few are left to be compared in each row; and a numerator of the softmax becomes that
   of the next row by a factor, so that two exponentials of a class are enough for all rows.

   What labels come from is computed without contractions and without regrouping, operation for operation as
   resizing.py's Taps.apply does. Scores need no particular rounding. */

#ifndef BLOCKS_H
#define BLOCKS_H
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* LANES: as many as one register holds: a shuffle of more goes through memory (without AVX, 8 lanes take 330 ms where 4
   of them take 84). FEW: neighbours that LANES values are picked from fastest. AVX2: the four in each half of a
   register, which together with `larger` below made 34 ms of 46. */
#ifdef __AVX512F__
#define LANES 16
#define FEW LANES
#include <immintrin.h>
#elif defined(__AVX2__)
#define LANES 8
#define FEW 4
#define IN_HALVES
#include <immintrin.h>
#else
#define LANES 4
#define FEW LANES
#endif
#define PAIR 2       /* vectors of pixels at a time: what waits for the one is done for the other */
#define MAX_STRIP 16 /* rows of a block: each adds a rounding to the softmax's numerators */
#define LOG2_E 1.44269504f
#define LOWEST -83.0f     /* of exponents: floats end at -87 */
#define NEGLIGIBLE -20.0f /* values that much below the highest are no part of the softmax: 150 of them are 3e-7 */

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));

typedef struct { /* where LANES pixels of a row come from: by way of two columns of the input, each of two of the values */
    Integers at[4];
    Floats weights[2], weight;
    int64_t first; /* column that `at` counts from */
    int reach;     /* how far they are from it: one of the following */
} Pixels;

enum { FAR, AMONG_LANES, AMONG_FEW };

typedef struct { /* a row of the values of every class, `step` apart */
    const float *data;
    float largest; /* of them, without its sign */
} Row;

typedef struct { /* rows of the picture: several between two rows of values, equally far apart, or one that is both */
    Row lower, upper;
    int64_t count;
    const float *weights; /* of the upper one */
    int64_t classes, step, picture_width;
    int twice;   /* columns are resized twice */
    int shares;  /* scores are shares of all values, and not the softmax */
    float *line; /* room for a row */
} Strip;

typedef struct { /* what is known of a block; first of each class, PAIR vectors */
    Floats *lower, *upper;  /* its values in the two rows */
    Floats *power, *factor; /* its numerator of the softmax in the row at hand, and what makes that of the next of it */
    int32_t *contenders;    /* classes that may be the highest somewhere */
    int64_t count, counted; /* of contenders, and of numerators */
    Floats lower_high[PAIR], upper_high[PAIR]; /* the highest values, which numerators are relative to */
    Floats least[PAIR]; /* what the highest value is at least, in every row */
} Block;

/* ------------------------------------------------------------------------------------------------------ vectors */

static inline Floats load(const float *values) {
    Floats loaded;
    memcpy(&loaded, values, sizeof loaded);
    return loaded;
}

/* The larger and the smaller of each two numbers, as one instruction. Of the vectors' comparisons GCC makes two for
   AVX2, and three of a function that is given the result. With AVX-512 these, and `any_lane`, made 17 ms of 22. */
#ifdef __AVX512F__
#define larger(a, b) ((Floats)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define smaller(a, b) ((Floats)_mm512_min_ps((__m512)(a), (__m512)(b)))
#elif defined(IN_HALVES)
#define larger(a, b) ((Floats)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define smaller(a, b) ((Floats)_mm256_min_ps((__m256)(a), (__m256)(b)))
#else
#define larger(a, b) ((Floats)(((Integers)(a) & ((a) > (b))) | ((Integers)(b) & ~((a) > (b)))))
#define smaller(a, b) ((Floats)(((Integers)(a) & ((a) < (b))) | ((Integers)(b) & ~((a) < (b)))))
#endif

static inline int any_lane(Integers truth) {
#ifdef __AVX512F__
    return _mm512_test_epi32_mask((__m512i)truth, (__m512i)truth) != 0;
#elif defined(IN_HALVES)
    return _mm256_movemask_ps((__m256)truth) != 0;
#else
    int64_t words[sizeof truth / 8], any = 0;
    memcpy(words, &truth, sizeof truth);
    for (size_t i = 0; i < sizeof truth / 8; i++)
        any |= words[i];
    return any != 0;
#endif
}

/* A function of scores alone may fuse its products with its sums. */
#if defined(__GNUC__) && !defined(__clang__)
#define MAY_FUSE __attribute__((noinline, optimize("fp-contract=fast")))
#define INLINE_MAY_FUSE static inline __attribute__((optimize("fp-contract=fast")))
#else
#define MAY_FUSE
#define INLINE_MAY_FUSE static inline
#endif

/* x log2(e) as a whole part, returned as what it adds to an exponent's bits, and the rest, from -1/2 to 1/2. */
INLINE_MAY_FUSE Bits split_power(Floats x, Floats *rest) {
    const Floats shift = (Floats){0} + 12582912.0f; /* 1.5 * 2^23, which moves the whole part into the last bits */
    Floats moved = x * LOG2_E + shift;
    *rest = x * LOG2_E - (moved - shift);
    return (Bits)moved << 23;
}

/* exp(x) for x from LOWEST to 0, exactly 1 of 0; its error is at most 3e-6 of it, to either side. 0 below LOWEST. */
INLINE_MAY_FUSE Floats falling_exponential(Floats x) {
    Floats rest;
    Bits power = split_power(x, &rest);
    Floats p = rest * 0.00958285309f + 0.0559064246f;
    p = p * rest + 0.240240986f;
    p = p * rest + 0.693124193f;
    p = p * rest + 1.0f;
    return (Floats)(((Bits)p + power) & (Bits)(x > LOWEST));
}

/* exp(x) to the last bits, which rows after rows add up, of x kept between LOWEST and -LOWEST. */
INLINE_MAY_FUSE Floats exact_exponential(Floats x) {
    const Floats lowest = (Floats){0} + LOWEST;
    x = smaller(larger(x, lowest), -lowest);
    Floats rest;
    Bits power = split_power(x, &rest);
    Floats p = rest * 0.000154035304f + 0.00133335581f;
    p = p * rest + 0.00961812911f;
    p = p * rest + 0.0555041087f;
    p = p * rest + 0.240226507f;
    p = p * rest + 0.693147181f;
    p = p * rest + 1.0f;
    return (Floats)((Bits)p + power);
}

/* ----------------------------------------------------------------------------------------------------- resizing */

/* LANES values of a row. */
static inline Floats pick(const float *row, const Pixels *pixels, int corner, int reach) {
#ifdef IN_HALVES
    if (reach == AMONG_FEW) {
        __m256 in_each_half = _mm256_broadcast_ps((const __m128 *)(row + pixels->first));
        return (Floats)_mm256_permutevar_ps(in_each_half, (__m256i)pixels->at[corner]);
    }
#endif
#if defined(__GNUC__) && !defined(__clang__)
    if (reach != FAR)
        return __builtin_shuffle(load(row + pixels->first), pixels->at[corner]);
#endif
    Floats picked;
    for (int lane = 0; lane < LANES; lane++)
        picked[lane] = row[pixels->first + pixels->at[corner][lane]];
    return picked;
}

static inline Floats pick_between(const float *lower, const float *upper, float weight, const Pixels *pixels, int corner,
                                  int reach) {
    Floats low = pick(lower, pixels, corner, reach);
    return upper ? (pick(upper, pixels, corner, reach) - low) * weight + low : low;
}

/* The values of a class at LANES pixels of a row, or of one between two rows: the rows are resized first. */
static inline Floats at_pixels(const float *row, const float *upper_row, float row_weight, const Pixels *pixels,
                               int reach, int twice) {
    Floats lower = pick_between(row, upper_row, row_weight, pixels, 0, reach);
    lower = (pick_between(row, upper_row, row_weight, pixels, 1, reach) - lower) * pixels->weights[0] + lower;
    if (!twice)
        return lower;
    Floats upper = pick_between(row, upper_row, row_weight, pixels, 2, reach);
    upper = (pick_between(row, upper_row, row_weight, pixels, 3, reach) - upper) * pixels->weights[1] + upper;
    return (upper - lower) * pixels->weight + lower;
}

/* The values of every class in both rows, and their highest ones. */
static inline void resize_block(const Strip *strip, const Pixels *pixels, Block *block, int reach, int twice) {
    Floats *restrict lowers = block->lower, *restrict uppers = block->upper;
    Floats lower_high[PAIR], upper_high[PAIR], least[PAIR];
    for (int i = 0; i < PAIR; i++)
        least[i] = lower_high[i] = upper_high[i] = (Floats){0} - INFINITY;
    for (int64_t c = 0; c < strip->classes; c++)
        for (int i = 0; i < PAIR; i++) {
            Floats lower = at_pixels(strip->lower.data + c * strip->step, NULL, 0, pixels + i, reach, twice);
            Floats upper = at_pixels(strip->upper.data + c * strip->step, NULL, 0, pixels + i, reach, twice);
            lowers[c * PAIR + i] = lower, uppers[c * PAIR + i] = upper;
            lower_high[i] = larger(lower, lower_high[i]), upper_high[i] = larger(upper, upper_high[i]);
            least[i] = larger(smaller(lower, upper), least[i]);
        }
    float largest = fmaxf(strip->lower.largest, strip->upper.largest);
    for (int i = 0; i < PAIR; i++) { /* columns first or rows first: two ways to a value, a few roundings apart */
        block->least[i] = least[i] - (strip->count > 1 ? 64 * FLT_EPSILON * largest : 0);
        block->lower_high[i] = lower_high[i], block->upper_high[i] = upper_high[i];
    }
}

/* ------------------------------------------------------------------------------------------------------- labels */

static void find_contenders(const Strip *strip, Block *block) {
    const Floats *restrict lower = block->lower, *restrict upper = block->upper;
    int32_t *restrict contenders = block->contenders;
    int64_t count = 0;
    for (int64_t c = 0; c < strip->classes; c++) {
        Integers may = {0};
        for (int i = 0; i < PAIR; i++)
            may |= larger(lower[c * PAIR + i], upper[c * PAIR + i]) >= block->least[i];
        contenders[count] = c;
        count += any_lane(may);
    }
    block->count = count;
}

/* The first class with the highest value at each pixel of a row, as argmax, and that value. */
static inline void find_best(const Strip *strip, const Pixels *pixels, const Block *block, int64_t row, Integers *best,
                             Floats *highest, int reach, int twice) {
    for (int i = 0; i < PAIR; i++)
        highest[i] = (Floats){0} - INFINITY, best[i] = (Integers){0};
    for (int64_t contender = 0; contender < block->count; contender++) {
        int64_t c = block->contenders[contender], at = c * strip->step;
        for (int i = 0; i < PAIR; i++) {
            Floats value = block->lower[c * PAIR + i];
            if (strip->count > 1)
                value = at_pixels(strip->lower.data + at, strip->upper.data + at, strip->weights[row], pixels + i, reach,
                                  twice);
            Integers more = value > highest[i];
            highest[i] = larger(value, highest[i]);
            best[i] = (((Integers){0} + (int32_t)c) & more) | (best[i] & ~more);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------- scores */

/* The numerators of the softmax in the first row, relative to the straight line between the highest values of both rows,
   which none exceeds, and the factors; of the classes alone that count somewhere. Returns 0 where that will not do, since
   one that counts later vanishes at first. */
static MAY_FUSE int begin_softmax(const Strip *strip, Block *block) {
    const Floats *restrict lower = block->lower, *restrict upper = block->upper;
    Floats *restrict power = block->power, *restrict factor = block->factor;
    int several = strip->count > 1;
    float first = several ? strip->weights[0] : 0, last = several ? strip->weights[strip->count - 1] : 0;
    float step = several ? (last - first) / (strip->count - 1) : 0;
    Floats lower_high[PAIR], upper_high[PAIR], negligible[PAIR];
    Integers lost = {0};
    for (int i = 0; i < PAIR; i++) {
        lower_high[i] = block->lower_high[i], upper_high[i] = block->upper_high[i];
        Floats gap = larger(lower_high[i], upper_high[i]) - block->least[i]; /* from the line to the highest, at most */
        negligible[i] = NEGLIGIBLE - gap;
    }
    block->counted = 0;
    for (int64_t c = 0; c < strip->classes; c++) {
        Floats at_first[PAIR], rise[PAIR];
        Integers counts = {0};
        for (int i = 0; i < PAIR; i++) {
            Floats below = lower[c * PAIR + i] - lower_high[i];
            rise[i] = (upper[c * PAIR + i] - upper_high[i]) - below;
            at_first[i] = below + rise[i] * first;
            Integers here = larger(at_first[i], below + rise[i] * last) > negligible[i];
            counts |= here, lost |= here & (at_first[i] < LOWEST);
        }
        if (!any_lane(counts))
            continue;
        int64_t place = block->counted++ * PAIR;
        for (int i = 0; i < PAIR; i++)
            power[place + i] = falling_exponential(at_first[i]);
        for (int i = 0; several && i < PAIR; i++)
            factor[place + i] = exact_exponential(rise[i] * step);
    }
    return !several || !any_lane(lost);
}

/* The sum of the numerators, which become those of the next row. */
static MAY_FUSE void sum_powers(Block *block, int last, Floats *sums) {
    Floats *restrict power = block->power, even[PAIR] = {0}, odd[PAIR] = {0};
    const Floats *restrict factor = block->factor;
    int64_t vectors = PAIR * block->counted, i = 0;
    for (; i + PAIR < vectors; i += 2 * PAIR) /* two sums, neither of which waits for the other */
        for (int j = 0; j < PAIR; j++) {
            Floats one = power[i + j], other = power[i + PAIR + j];
            even[j] += one, odd[j] += other;
            if (!last)
                power[i + j] = one * factor[i + j], power[i + PAIR + j] = other * factor[i + PAIR + j];
        }
    for (int j = 0; i < vectors; i++, j++) {
        even[j] += power[i];
        if (!last)
            power[i] *= factor[i];
    }
    for (int j = 0; j < PAIR; j++)
        sums[j] = even[j] + odd[j];
}

/* What the best class has at each pixel of a row: its softmax, or its share in the sum of all classes. */
static MAY_FUSE void find_certainty(const Strip *strip, Block *block, int64_t row, const Floats *highest,
                                    Floats *certainty) {
    const Floats least = (Floats){0} + FLT_MIN;
    float weight = strip->count > 1 ? strip->weights[row] : 0;
    Floats sums[PAIR] = {0};
    if (!strip->shares)
        sum_powers(block, row + 1 == strip->count, sums);
    for (int64_t i = 0; strip->shares && i < PAIR * strip->classes; i++)
        sums[i % PAIR] += (block->upper[i] - block->lower[i]) * weight + block->lower[i];
    for (int i = 0; i < PAIR; i++) {
        Floats line = (block->upper_high[i] - block->lower_high[i]) * weight + block->lower_high[i];
        certainty[i] = strip->shares ? highest[i] / larger(sums[i], least)
                                     : falling_exponential(highest[i] - line) / sums[i];
    }
}

/* ------------------------------------------------------------------------------------------------------- blocks */

static void label_block(const Strip *strip, const Pixels *pixels, int64_t width, Block *block, int32_t *labels,
                        double *sums);

/* A row between two. */
static void blend(const float *low, const float *up, float weight, int64_t size, float *restrict out) {
    for (int64_t i = 0; i < size; i++)
        out[i] = (up[i] - low[i]) * weight + low[i];
}

/* The rows of a block one by one, as strips of their own. */
static void label_rows(const Strip *strip, const Pixels *pixels, int64_t width, Block *block, int32_t *labels,
                       double *sums) {
    for (int64_t row = 0; row < strip->count; row++) {
        Strip one = *strip;
        blend(strip->lower.data, strip->upper.data, strip->weights[row], strip->classes * strip->step, strip->line);
        one.lower.data = one.upper.data = strip->line, one.count = 1;
        label_block(&one, pixels, width, block, labels + row * strip->picture_width, sums);
    }
}

static inline void label_block_by(const Strip *strip, const Pixels *pixels, int64_t width, Block *block, int32_t *labels,
                                  double *sums, int reach, int twice) {
    resize_block(strip, pixels, block, reach, twice);
    if (!strip->shares && !begin_softmax(strip, block)) {
        label_rows(strip, pixels, width, block, labels, sums);
        return;
    }
    find_contenders(strip, block);
    for (int64_t row = 0; row < strip->count; row++, labels += strip->picture_width) {
        Integers best[PAIR];
        Floats highest[PAIR], certainty[PAIR];
        find_best(strip, pixels, block, row, best, highest, reach, twice);
        find_certainty(strip, block, row, highest, certainty);
        for (int64_t i = 0; i < width; i++) {
            labels[i] = best[i / LANES][i % LANES];
            sums[labels[i]] += certainty[i / LANES][i % LANES];
        }
    }
}

/* Write the labels of the first `width` pixels of a block, and add how sure they are to the sums of their classes. */
static void label_block(const Strip *strip, const Pixels *pixels, int64_t width, Block *block, int32_t *labels,
                        double *sums) {
    int reach = pixels[0].reach < pixels[1].reach ? pixels[0].reach : pixels[1].reach;
    if (reach == FAR)
        label_block_by(strip, pixels, width, block, labels, sums, FAR, 1);
    else if (reach == AMONG_LANES)
        label_block_by(strip, pixels, width, block, labels, sums, AMONG_LANES, 1);
    else if (strip->twice)
        label_block_by(strip, pixels, width, block, labels, sums, AMONG_FEW, 1);
    else
        label_block_by(strip, pixels, width, block, labels, sums, AMONG_FEW, 0);
}

#endif
