/* What the machine looks for while it runs a kernel. Each check is a bit, and a name that is also the kind of its
   reports. With a check off the machine does what hardware does; what hardware itself stops at (an address that
   belongs to nothing, a barrier that nobody completes) ends the launch whichever checks there are. */
#ifndef TRCPU_CHECKS_H
#define TRCPU_CHECKS_H

#include "machine.h"

enum {
    TRCPU_CHECK_OUT_OF_BOUNDS = 1 << 0,
    TRCPU_CHECK_USE_AFTER_FREE = 1 << 1,
    TRCPU_CHECK_HOST_POINTER = 1 << 2,
    TRCPU_CHECK_MISALIGNED = 1 << 3,
    TRCPU_CHECK_READ_ONLY = 1 << 4,
    TRCPU_CHECK_UNINITIALISED_SHARED = 1 << 5,
    TRCPU_CHECK_RACE_SHARED = 1 << 6,
    TRCPU_CHECK_MISSING_WAIT = 1 << 7,
    TRCPU_CHECK_BARRIER_DIVERGENCE = 1 << 8,
    TRCPU_CHECK_DEADLOCK = 1 << 9,
    TRCPU_CHECK_INFINITE_LOOP = 1 << 10,
    TRCPU_CHECK_RACE_GLOBAL = 1 << 11,
    TRCPU_CHECK_UNINITIALISED_GLOBAL = 1 << 12,

    TRCPU_CHECK_ALL = (1 << 13) - 1,
    TRCPU_CHECK_GLOBAL = TRCPU_CHECK_RACE_GLOBAL | TRCPU_CHECK_UNINITIALISED_GLOBAL,
    TRCPU_CHECK_DEFAULT = TRCPU_CHECK_ALL & ~TRCPU_CHECK_GLOBAL,
    /* what the shadow of shared memory serves */
    TRCPU_CHECK_SHARED =
        TRCPU_CHECK_UNINITIALISED_SHARED | TRCPU_CHECK_RACE_SHARED | TRCPU_CHECK_MISSING_WAIT,
};

#endif
