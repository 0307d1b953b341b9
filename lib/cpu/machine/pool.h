#ifndef TRCPU_POOL_H
#define TRCPU_POOL_H

#include <stdint.h>

/* Runs `work` on the calling thread and on up to `helpers` threads of a pool shared by all callers; returns when
   every one that began has ended. Helpers that are busy elsewhere don't come: `work` must do with the caller
   alone. */
void trcpu_pool_run(void (*work)(void *context), void *context, uint32_t helpers);

/* Threads in all, the caller's among them: TRITON_RUNNER_CPU_THREADS, else one a CPU. */
uint32_t trcpu_pool_threads(void);

#endif
