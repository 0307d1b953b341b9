/* bar and barrier: see machine/barrier.c for what they do. */
#include "machine/lanes/lanes.h"

enum { PLAIN, RED_POPC, RED_AND, RED_OR };

/* rows: [d,] id, count[, p]; .aligned ones, as all bar are, want the whole warp. */
static inline const trcpu_insn *arrive(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, uint32_t first,
                                       bool aligned, bool arrive_only) {
    if (aligned && mask != warp->live) {
        if (mask != warp->active) /* a guard leaves lanes out: they will never come */
            return trcpu_fault_report(warp, insn, (uint32_t)__builtin_ctz(mask), 719, "barrier-divergence",
                                      "only lanes %08x of the warp's %08x execute this barrier", mask, warp->live);
        return trcpu_warp_gather(warp, insn, warp->live);
    }
    uint32_t lane = (uint32_t)__builtin_ctz(mask);
    return trcpu_barrier_wait(warp, insn, mask, ROW(uint32_t, first)[lane], ROW(uint32_t, first + 1)[lane], arrive_only);
}

HANDLER(sync_aligned) {
    return arrive(warp, insn, mask, 0, true, false);
}
HANDLER(sync_any) {
    return arrive(warp, insn, mask, 0, false, false);
}
HANDLER(arrive_aligned) {
    return arrive(warp, insn, mask, 0, true, true);
}
HANDLER(arrive_any) {
    return arrive(warp, insn, mask, 0, false, true);
}
HANDLER(reduce_aligned) {
    return arrive(warp, insn, mask, 1, true, false);
}
HANDLER(reduce_any) {
    return arrive(warp, insn, mask, 1, false, false);
}
/* Without a count the predicate comes right after the id: the row of the count is a zero. */

#define BARRIER(name, sync, arrives, reduce)                                                                 \
    {name ".sync" , "=w?w", sync, PLAIN, 0}, {name ".arrive", "=ww", arrives, PLAIN, 0},                     \
        {name ".red.popc.u32", "w=wp", reduce, RED_POPC, 0}, {name ".red.popc.u32", "w=wwp", reduce, RED_POPC, 0}, \
        {name ".red.and.pred", "p=wp", reduce, RED_AND, 0}, {name ".red.and.pred", "p=wwp", reduce, RED_AND, 0}, \
        {name ".red.or.pred", "p=wp", reduce, RED_OR, 0}, {name ".red.or.pred", "p=wwp", reduce, RED_OR, 0}

FORMS(barrier){
    BARRIER("bar.?cta", sync_aligned, arrive_aligned, reduce_aligned),
    BARRIER("barrier.?cta", sync_any, arrive_any, reduce_any),
    {"barrier.?cta.sync.aligned", "=w?w", sync_aligned, PLAIN, 0},
    {"barrier.?cta.arrive.aligned", "=ww", arrive_aligned, PLAIN, 0},
    END_OF_FORMS,
};
