/* When nobody can go on: warps that wait at barriers nobody completes, or spin on memory nobody changes.

   A thread that runs CTAs and finds that they all only wait saves what they are: where each warp is, and its registers.
   When that comes back, and no CTA has begun or ended meanwhile, they go in circles. When all threads of the launch find
   so, and once more after each has, nobody is left who could change what they wait for. */
#ifndef TRCPU_STALL_H
#define TRCPU_STALL_H

#include "machine/warp.h"

typedef struct trcpu_stall { /* of a thread */
    uint32_t sweeps;         /* over its CTAs in vain, one after the other */
    uint32_t saved_at;
    uint64_t saved;
    uint32_t round; /* of the launch, in which this thread has found itself in a circle */
} trcpu_stall;

void trcpu_stall_enter(trcpu_run *run); /* a thread begins to run CTAs */
void trcpu_stall_leave(trcpu_run *run);
void trcpu_stall_moved(trcpu_run *run, trcpu_stall *stall); /* a CTA began or ended */
/* After a sweep in vain: true, and reported, when all are stuck. */
bool trcpu_stall_found(trcpu_run *run, trcpu_stall *stall, trcpu_cta *const *ctas, uint32_t count);

/* No warp of the CTA can run. False: it is done. */
bool trcpu_stall_report_blocked(trcpu_cta *cta);

#endif
