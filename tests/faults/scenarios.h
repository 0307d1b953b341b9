/* What is done while faults are injected: each scenario is a row of public calls, and together they are all of them. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "base/hash.h"
#include "driver/cuda_api.h"
#include "triton_runner.h"

#include <stdbool.h>

/* Where a scenario works, and what it has seen: two runs that were told TR_OK must have seen the same. */
typedef struct world {
    char folder[64];
    tr_runner *runner;
    CUstream stream; /* one that can be captured */
    tr__hash seen;
    uint32_t timeout_ms; /* of compilations; 0: none but the library's own */
} world;

enum {
    USES_DRIVER = 1, /* the no-op driver */
    USES_WORKER = 2, /* starts processes */
    USES_CACHE = 4,  /* finds what an earlier run left in the cache on disk */
    USES_CPU = 8     /* the CPU device, where it is built */
};

typedef struct scenario {
    const char *name;
    unsigned uses;
    tr_status (*run)(world *world, tr_error **error);
} scenario;

extern const scenario scenarios[]; /* the last has no name */

/* What a runner of this world is made with. */
tr_runner_options world_options(const world *world, const scenario *scenario);

#endif
