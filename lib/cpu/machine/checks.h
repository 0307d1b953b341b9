#ifndef TRCPU_CHECKS_H
#define TRCPU_CHECKS_H

#include "machine.h"

/* Addresses, alignment, barriers, deadlocks and endless loops are always looked at: a machine that didn't would
   crash or hang with the kernel. */
enum {
    TRCPU_CHECK_DEFAULT = 1,
    TRCPU_CHECK_ALL = 1,
};

#endif
