/* bar and barrier: see machine/barrier.c for what they do. */
#include "machine/checks.h"
#include "machine/lanes/lanes.h"

enum { PLAIN, RED_POPC, RED_AND, RED_OR };

enum { COUNTED, REDUCES, COUNTED_REDUCES };

/* rows: [d,] id[, count][, p]; .aligned ones, as all bar are, want the whole warp. */
static inline const trcpu_insn *arrive(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                       uint32_t shape, bool aligned, bool arrive_only) {
    aligned &= (warp->launch->checks & TRCPU_CHECK_BARRIER_DIVERGENCE) != 0;
    if (aligned && mask != warp->live) {
        if (mask != warp->active) /* a guard leaves lanes out: they will never come */
            return trcpu_fault_report(warp, insn, (uint32_t)__builtin_ctz(mask), 719, "barrier-divergence",
                                      "only lanes %08x of the warp's %08x execute this barrier", mask,
                                      warp->live);
        return trcpu_warp_gather(warp, insn, warp->live);
    }
    uint32_t lane = (uint32_t)__builtin_ctz(mask), id = shape >= REDUCES ? 1 : 0;
    bool counted = shape != REDUCES;
    uint32_t count = counted ? ROW(uint32_t, id + 1)[lane] : 0;
    uint32_t values = shape >= REDUCES ? *PREDICATE(counted ? 3 : 2) : 0;
    return trcpu_barrier_wait(warp, insn, mask, ROW(uint32_t, id)[lane], count, values, arrive_only);
}

#define ARRIVALS(suffix, aligned)                                                                            \
    HANDLER(sync_##suffix) {                                                                                 \
        return arrive(warp, insn, mask, COUNTED, aligned, false);                                            \
    }                                                                                                        \
    HANDLER(arrive_##suffix) {                                                                               \
        return arrive(warp, insn, mask, COUNTED, aligned, true);                                             \
    }                                                                                                        \
    HANDLER(reduce_##suffix) {                                                                               \
        return arrive(warp, insn, mask, REDUCES, aligned, false);                                            \
    }                                                                                                        \
    HANDLER(reduce_counted_##suffix) {                                                                       \
        return arrive(warp, insn, mask, COUNTED_REDUCES, aligned, false);                                    \
    }
ARRIVALS(aligned, true)
ARRIVALS(any, false)

#define BARRIER(name, aligned, suffix)                                                                       \
    {name ".sync" aligned, "=w?w", sync_##suffix, PLAIN, 0},                                                 \
        {name ".arrive" aligned, "=ww", arrive_##suffix, PLAIN, 0},                                          \
        {name ".red.popc" aligned ".u32", "w=wp", reduce_##suffix, RED_POPC, 0},                             \
        {name ".red.popc" aligned ".u32", "w=wwp", reduce_counted_##suffix, RED_POPC, 0},                    \
        {name ".red.and" aligned ".pred", "p=wp", reduce_##suffix, RED_AND, 0},                              \
        {name ".red.and" aligned ".pred", "p=wwp", reduce_counted_##suffix, RED_AND, 0},                     \
        {name ".red.or" aligned ".pred", "p=wp", reduce_##suffix, RED_OR, 0}, {                              \
        name ".red.or" aligned ".pred", "p=wwp", reduce_counted_##suffix, RED_OR, 0                          \
    }

FORMS(barrier){
    BARRIER("bar.?cta", "", aligned),
    BARRIER("barrier.?cta", ".aligned", aligned),
    BARRIER("barrier.?cta", "", any),
    END_OF_FORMS,
};
