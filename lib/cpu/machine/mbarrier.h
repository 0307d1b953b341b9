/* mbarrier objects: the 64 bits in shared memory and what each operation makes of them. The layout is the CPU
   device's own; PTX calls it opaque. The warps of a cluster run on one host thread, so nothing here is atomic.

   A phase completes when no arrival is pending and all bytes expected have come; then the next begins with the same
   count. What PTX leaves undefined is an answer other than NULL: why the kernel is wrong. */
#ifndef TRCPU_MBARRIER_H
#define TRCPU_MBARRIER_H

#include <stdbool.h>
#include <stdint.h>

enum { TRCPU_MBARRIER_MAX_COUNT = (1 << 20) - 1 };

const char *trcpu_mbarrier_init(uint64_t *barrier, uint32_t count);
const char *trcpu_mbarrier_inval(uint64_t *barrier);
/* `dropped`: of the arrivals, how many also leave later phases. */
const char *trcpu_mbarrier_arrive(uint64_t *barrier, uint32_t count, uint32_t dropped);
const char *trcpu_mbarrier_expect_tx(uint64_t *barrier, uint32_t bytes);
const char *trcpu_mbarrier_complete_tx(uint64_t *barrier, uint32_t bytes);

bool trcpu_mbarrier_is_valid(uint64_t barrier);
/* Whether the phase has completed: of a parity, or that was current when `state` (the word then) was taken. */
bool trcpu_mbarrier_passed_parity(uint64_t barrier, uint32_t parity);
bool trcpu_mbarrier_passed(uint64_t barrier, uint64_t state);
uint32_t trcpu_mbarrier_pending(uint64_t state);
int32_t trcpu_mbarrier_missing_bytes(uint64_t barrier);

#endif
