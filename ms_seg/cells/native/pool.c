/* Threads that stay, and share the work of one operator after the other.

   A thread looks for new work for some 20 us after its last, for operators follow each other closely, and then sleeps
   until it is woken: it never takes a core from other programs. Where the threads are at work for another caller, a
   caller does its work alone. A forked process begins with none of them. */

#include "operator.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { LOOKS = 500 };

typedef struct {
    Work work;
    const void *task;
    int64_t items, parts;
    _Atomic int64_t next; /* part to be taken */
} Job;

static struct {
    pthread_mutex_t calling; /* held by the caller whose job it is */
    pthread_mutex_t lock;    /* of what follows */
    pthread_cond_t wake, done;
    Job *job;         /* NULL where all parts are taken */
    int busy;         /* workers that have joined the job */
    int size;         /* threads, with the caller's */
    _Atomic int jobs; /* until now */
} pool = {.calling = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static inline void look_again(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static void do_parts(Job *job, int worker) {
    for (int64_t part; (part = atomic_fetch_add(&job->next, 1)) < job->parts;)
        job->work(job->task, job->items * part / job->parts, job->items * (part + 1) / job->parts, worker);
}

static void *serve(void *argument) {
    int worker = (int)(intptr_t)argument, seen = 0;
    for (;;) {
        for (int look = 0; look < LOOKS && atomic_load(&pool.jobs) == seen; look++)
            look_again();
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.jobs) == seen)
            pthread_cond_wait(&pool.wake, &pool.lock);
        seen = atomic_load(&pool.jobs);
        Job *job = pool.job;
        pool.busy += job != NULL;
        pthread_mutex_unlock(&pool.lock);
        if (!job)
            continue;
        do_parts(job, worker);
        pthread_mutex_lock(&pool.lock);
        if (--pool.busy == 0)
            pthread_cond_signal(&pool.done);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

static void begin_anew(void) { /* in a forked process, which has no thread but the one that forked */
    pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t none = PTHREAD_COND_INITIALIZER;
    pool.calling = pool.lock = unlocked;
    pool.wake = pool.done = none;
    pool.job = NULL;
    pool.busy = pool.size = 0;
}

int workers(void) {
    static _Atomic int cores;
    if (!atomic_load(&cores)) {
        cpu_set_t allowed;
        int available = sched_getaffinity(0, sizeof allowed, &allowed) ? 1 : CPU_COUNT(&allowed);
        atomic_store(&cores, available < MAX_WORKERS ? available : MAX_WORKERS);
    }
    return atomic_load(&cores);
}

static void start_threads(void) {
    static int watched;
    if (!watched)
        watched = !pthread_atfork(NULL, NULL, begin_anew);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (pool.size = 1; pool.size < workers(); pool.size++) {
        pthread_t thread;
        if (pthread_create(&thread, &detached, serve, (void *)(intptr_t)pool.size))
            break;
    }
    pthread_attr_destroy(&detached);
}

void parallel_for(Work work, const void *task, int64_t items, int64_t parts) {
    Job job = {.work = work, .task = task, .items = items, .parts = parts < items ? parts : items};
    int alone = job.parts <= 1 || workers() == 1 || pthread_mutex_trylock(&pool.calling);
    if (!alone) {
        if (!pool.size)
            start_threads();
        pthread_mutex_lock(&pool.lock);
        pool.job = &job;
        atomic_fetch_add(&pool.jobs, 1);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    do_parts(&job, 0);
    if (!alone) {
        pthread_mutex_lock(&pool.lock);
        pool.job = NULL; /* who wakes up now has come too late */
        while (pool.busy)
            pthread_cond_wait(&pool.done, &pool.lock);
        pthread_mutex_unlock(&pool.lock);
        pthread_mutex_unlock(&pool.calling);
    }
}
