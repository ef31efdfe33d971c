/* What all operators share: how MindSpore calls them, how work is cut into threads, how an output's shape is told.

   MindSpore calls them as custom operators: `params` holds the inputs and then the outputs, `shapes` the shape of each;
   all are float32 and contiguous. Each returns 0. Work is cut into equal parts, one for each core: the same number of
   cores gives the same bits. */

#ifndef THREADS_H
#define THREADS_H
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS int count, void **params, int *ranks, int64_t **shapes, const char **types, void *stream, void *extra
#define MOST_THREADS 64
#define LEAST_WORK (1 << 20) /* elements of a thread, which may wait 4 ms for a core where one of MindSpore's idles */

/* ---------------------------------------------------------------------------------------------------- threads */

typedef void (*Work)(const void *task, int64_t begin, int64_t end, int part);

typedef struct {
    Work work;
    const void *task;
    int64_t begin, end;
    int part;
} Job;

static void *run(void *argument) {
    const Job *job = argument;
    job->work(job->task, job->begin, job->end, job->part);
    return NULL;
}

/* How many parts to cut this many elements into. */
static int parts_for(int64_t elements) {
    cpu_set_t cores;
    int available = sched_getaffinity(0, sizeof cores, &cores) ? 1 : CPU_COUNT(&cores);
    int64_t useful = elements / LEAST_WORK + 1;
    int64_t parts = available < useful ? available : useful;
    return (int)(parts < MOST_THREADS ? parts : MOST_THREADS);
}

/* Do items 0 .. items - 1 in that many parts, the first of them in this thread. */
static void divide(Work work, const void *task, int64_t items, int parts) {
    pthread_t threads[MOST_THREADS];
    Job jobs[MOST_THREADS];
    int started[MOST_THREADS];
    for (int part = parts - 1; part >= 0; part--) {
        jobs[part] = (Job){work, task, items * part / parts, items * (part + 1) / parts, part};
        started[part] = part && !pthread_create(&threads[part], NULL, run, &jobs[part]);
        if (!started[part])
            run(&jobs[part]);
    }
    for (int part = 1; part < parts; part++)
        if (started[part])
            pthread_join(threads[part], NULL);
}

static int64_t size(int rank, const int64_t *shape) {
    int64_t elements = 1;
    for (int axis = 0; axis < rank; axis++)
        elements *= shape[axis];
    return elements;
}

/* An output's shape, which MindSpore asks for where it compiles for every size. It wants a std::vector<int64_t>: three
   pointers, which C and C++ return in the same way, to memory that it frees. */
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

#endif
