/* What the CPU device exports: every function of cuda_symbols.inc, and two of its own, to be looked up by
 * name. */
#ifndef TRCPU_DRIVER_EXPORTS_H
#define TRCPU_DRIVER_EXPORTS_H

#include "driver/cuda_api.h"

#include <stdbool.h>

#pragma GCC visibility push(default)

#define CUDA_FUNCTION(name, symbol, since, params) CUresult symbol params;
#include "driver/cuda_symbols.inc"

/* What broke the context (NULL: the current one), in one text: what the kernel did wrong, where, and what
   lies near; after a cuInit that failed, what of the environment it didn't understand. Ends in NUL, cut at `size`. CUDA_ERROR_NOT_FOUND: nothing broke it. */
CUresult trcpu_last_fault(CUcontext context, char *text, size_t size);
/* What the last launches did, as JSON: {"launch_count": …, "launches": [machine/counters.h]}, counted with
   TRITON_RUNNER_CPU_COUNTERS=1. Returns its length; json may be NULL, and is whole only if that is less than
   size. */
size_t trcpu_counters(char *json, size_t size);

#pragma GCC visibility pop

#endif
