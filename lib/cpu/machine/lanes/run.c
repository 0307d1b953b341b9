/* The loop. */
#include "machine/lanes/lanes.h"

#include "machine/counters.h"

/* Some lanes don't execute: their destination rows are kept. A pure handler's destinations are of one width. */
static const trcpu_insn *run_partially(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask) {
    uint64_t kept[4][32];
    uint32_t n = insn->pure, bytes = insn->width == 0 ? 4 : insn->width == 8 ? 256 : 128;
    if (insn->width == 0) { /* predicates: handlers of predicates look at their mask */
        return insn->run(warp, insn, mask);
    }
    for (uint32_t k = 0; k < n; k++) memcpy(kept[k], warp->file + insn->op[k], bytes);
    const trcpu_insn *next = insn->run(warp, insn, mask);
    for (uint32_t k = 0; k < n; k++) {
        if (bytes == 256) {
            uint64_t *row = ROW_AT(uint64_t, insn->op[k]);
            LANES row[l] = mask >> l & 1 ? row[l] : kept[k][l];
        } else {
            uint32_t *row = ROW_AT(uint32_t, insn->op[k]);
            const uint32_t *old = (const uint32_t *)kept[k];
            LANES row[l] = mask >> l & 1 ? row[l] : old[l];
        }
    }
    return next;
}

TRCPU_INLINE void run_warp(trcpu_warp *warp, trcpu_counts *counters) {
    if (warp->state == TRCPU_WARP_WOKEN && !trcpu_warp_select(warp)) return;
    for (;;) {
        const trcpu_insn *insn = warp->pc;
        const uintptr_t stop = warp->stop;
        const uint32_t active = warp->active, live = warp->live;
        while ((uintptr_t)insn < stop) {
            uint32_t mask = active & (*PREDICATE_AT(insn->guard) ^ insn->guard_flip);
            if (counters) trcpu_counts_note(counters, warp, insn, mask);
            if (mask == live || (mask && !insn->pure))
                insn = insn->run(warp, insn, mask);
            else if (mask)
                insn = run_partially(warp, insn, mask);
            else
                insn++;
        }
        if (warp->state == TRCPU_WARP_FAULTED) return;
        if (insn != TRCPU_LEAVE)
            warp->paths[warp->current].pc = insn, warp->paths[warp->current].active = active;
        if (!trcpu_warp_select(warp) || warp->paused) break;
    }
    if (warp->state == TRCPU_WARP_DONE)
        for (uint32_t id = 0; id < 16; id++)
            if (warp->cta->barriers[id].arrived) trcpu_barrier_check(warp->cta, id);
}

static void run(trcpu_warp *warp) {
    run_warp(warp, NULL);
}

static void run_counted(trcpu_warp *warp) {
    run_warp(warp, warp->launch->counters);
}

static const trcpu_form *const tables[] = {
    TRCPU_NAMED(trcpu_forms_control),  TRCPU_NAMED(trcpu_forms_move),
    TRCPU_NAMED(trcpu_forms_integer),  TRCPU_NAMED(trcpu_forms_bits),
    TRCPU_NAMED(trcpu_forms_float),    TRCPU_NAMED(trcpu_forms_double),
    TRCPU_NAMED(trcpu_forms_half),     TRCPU_NAMED(trcpu_forms_approximate),
    TRCPU_NAMED(trcpu_forms_convert),  TRCPU_NAMED(trcpu_forms_compare),
    TRCPU_NAMED(trcpu_forms_access),   TRCPU_NAMED(trcpu_forms_atomic),
    TRCPU_NAMED(trcpu_forms_async),    TRCPU_NAMED(trcpu_forms_shuffle),
    TRCPU_NAMED(trcpu_forms_barrier),  TRCPU_NAMED(trcpu_forms_matrix),
    TRCPU_NAMED(trcpu_forms_mma),      TRCPU_NAMED(trcpu_forms_wgmma),
    TRCPU_NAMED(trcpu_forms_mbarrier), TRCPU_NAMED(trcpu_forms_bulk),
    TRCPU_NAMED(trcpu_forms_cluster),  NULL};

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
const trcpu_variant TRCPU_NAMED(trcpu_variant) = {TEXT(TRCPU_VARIANT), tables, run, run_counted};
