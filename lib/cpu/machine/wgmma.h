/* wgmma.mma_async: one warp's part, 16 of the 64 rows, on rows of 32 lanes and shared memory.

   Arithmetic as mma.sync's (mma.h): products added to the accumulator in ascending k, one fused multiply-add each; an
   f16 accumulator is rounded once an instruction. It takes effect at once; that a kernel waits before it reads the
   accumulators or overwrites the operands is for the caller to check. */
#ifndef TRCPU_WGMMA_H
#define TRCPU_WGMMA_H

#include <stdbool.h>
#include <stdint.h>

typedef struct trcpu_wgmma_operands trcpu_wgmma_operands;
typedef bool trcpu_wgmma_function(trcpu_wgmma_operands *operands);

typedef struct trcpu_wgmma {
    uint16_t n, k;
    uint8_t d_rows;  /* registers per lane; A, where it comes in registers, has four */
    bool integer;    /* no scales, no transposes; .satfinite */
    bool transposes; /* 16-bit operands only */
    trcpu_wgmma_function *run;
} trcpu_wgmma;

struct trcpu_wgmma_operands {
    uint32_t n;
    uint32_t *const *d;
    const uint32_t *const *a; /* NULL: a_descriptor */
    uint64_t a_descriptor, b_descriptor;
    const char *shared;
    uint32_t shared_bytes;
    uint32_t warp;           /* 0 … 3 in its group */
    bool accumulate, negate; /* scale-d; scale-a and scale-b differ */
    bool a_transposed, b_transposed;
    uint32_t fault; /* out: the address past the end of shared memory, when run() answers false */
};

/* From "wgmma." to the end of the opcode; false: no such form. */
bool trcpu_wgmma_find(const char *opcode, trcpu_wgmma *out);

/* The bytes of shared memory an operand of `rows` (M or N) reads: for the checks of who writes there meanwhile.
   The span from the lowest to past the highest. */
void trcpu_wgmma_span(uint64_t descriptor, uint32_t rows, bool transposed, uint32_t *low, uint32_t *high);

#endif
