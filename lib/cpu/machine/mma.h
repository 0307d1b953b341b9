/* mma.sync, ldmatrix, stmatrix and movmatrix on rows: one register of 32 lanes. Nothing here knows of warps
   or memory.

   Arithmetic. With an f32 accumulator: d = c, then the products are added in ascending k, each by one fused
   multiply-add in f32. (A CPU without FMA rounds twice where a product is subnormal; otherwise products of
   these formats are exact.) With an f16 accumulator: the same in f32 from the widened c, rounded to f16 once
   at the end. f64: fused multiply-adds in ascending k. Integers: exact; the 32-bit result wraps, or is
   clamped with .satfinite. Tensor cores add several products at once and cut the
   sum off below a common exponent, so theirs differ in the last bits. tf32 operands: the low 13 bits are
   ignored. */
#ifndef TRCPU_MMA_H
#define TRCPU_MMA_H

#include <stdbool.h>
#include <stdint.h>

/* Rows are uint32_t[32], or uint64_t[32] where `wide`. d may be c, row for row. */
typedef void trcpu_mma_function(void *const *d, const void *const *a, const void *const *b,
                                const void *const *c);

typedef struct trcpu_mma {
    const char *opcode; /* as PTX has it, from "mma." on */
    uint8_t m, n, k;
    bool wide;
    uint8_t a_rows, b_rows, c_rows; /* registers per lane; d has as many as c */
    trcpu_mma_function *run;
} trcpu_mma;

/* NULL: no such form. */
const trcpu_mma *trcpu_mma_find(const char *opcode);

/* Matrix i of `count` (1, 2, 4): its eight rows of 16 bytes lie at address[8 * i …], its elements go to d[i].
 */
void trcpu_ldmatrix(uint32_t *const *d, const uint8_t *const *address, int count, bool transposed);
void trcpu_stmatrix(uint8_t *const *address, const uint32_t *const *s, int count, bool transposed);
/* movmatrix.trans: an 8×8 matrix of 16-bit elements held in one row; d may be s. */
void trcpu_movmatrix(uint32_t *d, const uint32_t *s);

#endif
