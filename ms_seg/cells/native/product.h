/* Products of matrices in the calling thread, for operators that cut their work among threads themselves.

   MindSpore 2.8 brings oneDNN's libdnnl.so.2 into every process that computes on the CPU. Its sgemm, called without a
   pool of threads, reaches 0.9 of what a core can do if its matrices are without gaps. Where there is none, the loops
   below take twice as long. */

#ifndef PRODUCT_H
#define PRODUCT_H
#include "operator.h"
#include <dlfcn.h>
#include <stdatomic.h>

/* c (m, n) = alpha a b + beta c, row-major; 0 if done. A letter is 'T' where the matrix is stored transposed. */
typedef int (*Sgemm)(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                     int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc, void *pool);

/* A function of oneDNN's, looked for once in each `known`; NULL if there is none. MindSpore goes on holding the library. */
static inline void *find_product(const char *name, _Atomic(void *) *known) {
    void *symbol = atomic_load_explicit(known, memory_order_relaxed), *library;
    if (!symbol && (library = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_NOLOAD))) {
        symbol = dlsym(library, name);
        dlclose(library);
        atomic_store_explicit(known, symbol, memory_order_relaxed);
    }
    return symbol;
}

static inline Sgemm find_sgemm(void) {
    static _Atomic(void *) known;
    void *symbol = find_product("dnnl_threadpool_interop_sgemm", &known);
    Sgemm sgemm;
    memcpy(&sgemm, &symbol, sizeof sgemm); /* ISO C has no conversion between the two kinds of pointer */
    return sgemm;
}

typedef struct {
    const float *values;
    int64_t stride; /* from a stored row to the next */
    int transposed;
} Matrix;

static inline float element(Matrix matrix, int64_t row, int64_t column) {
    return matrix.transposed ? matrix.values[column * matrix.stride + row]
                             : matrix.values[row * matrix.stride + column];
}

enum { ACROSS = 128, DEEP = 64 }; /* of b, what the first cache holds */

/* c (m, n) += a (m, k) b (k, n). */
static void add_product(int64_t m, int64_t n, int64_t k, Matrix a, Matrix b, float *c, int64_t stride) {
    float tile[DEEP][ACROSS];
    for (int64_t column = 0; column < n; column += ACROSS)
        for (int64_t deep = 0; deep < k; deep += DEEP) {
            int64_t across = n - column < ACROSS ? n - column : ACROSS, steps = k - deep < DEEP ? k - deep : DEEP;
            for (int64_t step = 0; step < steps; step++)
                for (int64_t j = 0; j < across; j++)
                    tile[step][j] = element(b, deep + step, column + j);
            for (int64_t i = 0; i < m; i++) {
                float *restrict row = c + i * stride + column;
                int64_t step = 0;
                for (; step + 4 <= steps; step += 4) {
                    float factors[4];
                    for (int next = 0; next < 4; next++)
                        factors[next] = element(a, i, deep + step + next);
                    for (int64_t j = 0; j < across; j++)
                        row[j] += factors[0] * tile[step][j] + factors[1] * tile[step + 1][j] +
                                  factors[2] * tile[step + 2][j] + factors[3] * tile[step + 3][j];
                }
                for (; step < steps; step++) {
                    float factor = element(a, i, deep + step);
                    for (int64_t j = 0; j < across; j++)
                        row[j] += factor * tile[step][j];
                }
            }
        }
}

/* c (m, n) = a (m, k) b (k, n), or added to c. sgemm: what find_sgemm returned. */
static inline void product(Sgemm sgemm, int64_t m, int64_t n, int64_t k, Matrix a, Matrix b, int added, float *c,
                           int64_t stride) {
    if (sgemm && !sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1, a.values, a.stride, b.values,
                        b.stride, added, c, stride, NULL))
        return;
    for (int64_t i = 0; i < m && !added; i++)
        memset(c + i * stride, 0, n * sizeof *c);
    add_product(m, n, k, a, b, c, stride);
}

#endif
