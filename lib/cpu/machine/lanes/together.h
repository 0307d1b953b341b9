/* Instructions of the whole warp, and waiting for what other warps do. */
#ifndef TRCPU_TOGETHER_H
#define TRCPU_TOGETHER_H

#include "machine/checks.h"
#include "machine/warp.h"

#include <stdio.h>

/* Some lanes are at an instruction of the whole warp: wait for the others, or tell that the guard parts them.
 */
static inline const trcpu_insn *apart(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask) {
    if (mask == warp->active) return trcpu_warp_gather(warp, insn, warp->live);
    return trcpu_fault_report(
        warp, insn, (uint32_t)__builtin_ctz(warp->active & ~mask), 719, "barrier-divergence",
        "the guard holds for lanes %08x only, but all lanes execute this together", mask);
}

/* Nothing to do until another warp has done something: let the others run. `what` it waits for goes into the report
   should nobody ever do it. */
static inline const trcpu_insn *wait_for_others(trcpu_warp *warp, const trcpu_insn *insn,
                                                const trcpu_insn *next, const char *what) {
    enum { PATIENCE = 1 << 20 };
    snprintf(warp->awaited, sizeof warp->awaited, "%s", what);
    if (++warp->waits >= PATIENCE && warp->launch->checks & TRCPU_CHECK_DEADLOCK)
        return trcpu_fault_report(warp, insn, (uint32_t)__builtin_ctz(warp->active), 719, "deadlock",
                                  "the warp waits for %s, which nobody brings about", what);
    warp->syncs = UINT32_MAX / 4;
    return trcpu_warp_pause(warp, next);
}

#endif
