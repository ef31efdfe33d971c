/* The contract between MindSpore and an operator, and the little that all operators share.

   An operator is a C function of the name that Python asks for. MindSpore calls it as a custom operator of type "aot",
   on its own thread, whenever its inputs are there:

     int name(int count, void **params, int *ranks, int64_t **shapes, const char **types, void *stream, void *extra)

   params   the inputs and then the outputs, `count` of them. Each is a whole array in row-major order without gaps
            (MindSpore copies a view before the call). Outputs are uninitialised and never overlap an input.
   ranks    the number of axes of each, 0 for a scalar.
   shapes   the sizes of these axes.
   types    "float32", "int32" or "uint8": each operator's comment says which it takes. Unless it says otherwise, all
            arrays are float32.
   stream, extra   not used.

   An operator checks types and shapes, and every number that it reads from a tensor and uses as an index or a size,
   before it touches any data. It returns 0, or one of the codes of `Status`, and has written nothing then. MindSpore 2.8
   raises a RuntimeError with the operator's name and this number, which `clear_errors` of the Python side turns into a
   sentence. That is a programmer's error, and should end the process: a graph that raised cannot be called again, and
   its error may be raised once more by what follows. Floating-point inputs may hold anything: NaN and infinity go the way of the formula, and a sample whose
   position is NaN, infinite or far away is a sample beyond the edge.

   nameInferShape returns the shape of the only output, for graphs that are compiled for every size: MindSpore calls it
   with the inputs' shapes, in which -1 is a size that is not known yet. Operators of fixed sizes have none: Python tells
   the shape.

   Work is cut into equal parts by its size alone, never by the number of cores, and idle threads take them one by one:
   what an element of an output is computed from, and in which order, is the same on every number of cores. */

#ifndef OPERATOR_H
#define OPERATOR_H
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS int count, void **params, int *ranks, int64_t **shapes, const char **types, void *stream, void *extra

typedef enum { /* what an operator returns; native/__init__.py has a sentence for each */
    DONE = 0,
    NO_MEMORY = 1,
    WRONG_TYPE = 2,  /* of an array, or a wrong number of arrays */
    WRONG_SHAPE = 3, /* of an array, or arrays that do not fit each other */
    WRONG_INDEX = 4, /* in a tensor of indices or sizes */
} Status;

/* ------------------------------------------------------------------------------------------------------- checks */

/* Whether there are as many arrays as letters, of these types: f for float32, i for int32, m for float32 or uint8. */
static inline int types_are(const char *letters, int count, const char **types) {
    if (count != (int)strlen(letters))
        return 0;
    for (int i = 0; i < count; i++) {
        const char *usual = letters[i] == 'i' ? "int32" : "float32";
        if (strcmp(types[i], usual) && !(letters[i] == 'm' && !strcmp(types[i], "uint8")))
            return 0;
    }
    return 1;
}

static inline int64_t size(int rank, const int64_t *shape) {
    int64_t elements = 1;
    for (int axis = 0; axis < rank; axis++)
        elements *= shape[axis];
    return elements;
}

/* The columns of a weight as a matrix, (rows, columns), whose other axes may be several: a convolution's (O, C, 1, 1). */
static inline int64_t columns_of(int rank, const int64_t *shape) { return rank < 2 ? 0 : size(rank - 1, shape + 1); }

static inline int same_shape(int rank, const int64_t *shape, int other_rank, const int64_t *other) {
    return rank == other_rank && !memcmp(shape, other, rank * sizeof *shape);
}

/* ------------------------------------------------------------------------------------------------------ threads */

#define MAX_WORKERS 64
#define MAX_PARTS 64
#define MIN_WORK (1 << 15) /* elements of a part: some 10 us, which a thread that wakes up takes */

/* Do items begin .. end - 1. worker: the number of the thread, from 0 to workers() - 1, for memory of its own. */
typedef void (*Work)(const void *task, int64_t begin, int64_t end, int worker);

int workers(void); /* the cores that the process may use, when its first operator runs */

/* Do items 0 .. items - 1 in that many equal parts, in this thread and the workers of pool.c. */
void parallel_for(Work work, const void *task, int64_t items, int64_t parts);

/* How many parts to cut this many elements into. */
static inline int64_t parts_for(int64_t elements) {
    int64_t useful = elements / MIN_WORK + 1;
    return useful < MAX_PARTS ? useful : MAX_PARTS;
}

/* ------------------------------------------------------------------------------------------------------- shapes */

/* MindSpore wants a std::vector<int64_t> of nameInferShape: three pointers, which C and C++ return in the same way, to
   memory that it frees. */
typedef struct {
    int64_t *begin, *end, *capacity;
} Shape;

static inline Shape shape_of_first(const int *ranks, int64_t **shapes) {
    int64_t *copy = malloc(ranks[0] * sizeof *copy + 1); /* a scalar has none, and malloc may give nothing for it */
    if (copy)
        memcpy(copy, shapes[0], ranks[0] * sizeof *copy);
    int64_t *end = copy ? copy + ranks[0] : copy;
    return (Shape){copy, end, end};
}

/* ------------------------------------------------------------------------------------------------- the exponential */

/* exp(x) for x <= 0, and NaN for NaN: a power of two times a polynomial on [-ln 2 / 2, ln 2 / 2], for vector units. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    float k = rintf(x * 1.44269504088896341f);
    float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    /* 1.5 * 2^23 moves k into the last bits, without a conversion, which NaN does not have. */
    union { float value; uint32_t bits; } moved = {k + 12582912.0f}, power = {.bits = (moved.bits + 127) << 23};
    return p * power.value;
}

#endif
