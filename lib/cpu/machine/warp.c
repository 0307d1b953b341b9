/* Control flow of a warp: paths that diverge, wait for one another and join. */
#include "machine/warp.h"

enum { FUEL = 4096, PAUSE_ANYWAY = 16 };

bool trcpu_warp_select(trcpu_warp *warp) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < warp->path_count; k++) {
        trcpu_path path = warp->paths[k];
        if (!path.active) continue;
        uint32_t same = 0;
        while (same < n && (warp->paths[same].pc != path.pc || warp->paths[same].wait == TRCPU_WAIT_BARRIER ||
                            path.wait == TRCPU_WAIT_BARRIER))
            same++;
        if (same < n) { /* who waited for these lanes looks again */
            warp->paths[same].active |= path.active;
            warp->paths[same].wait = TRCPU_WAIT_NOTHING;
        } else {
            warp->paths[n++] = path;
        }
    }
    warp->path_count = n;
    if (n == 0) {
        warp->state = TRCPU_WARP_DONE;
        return false;
    }
    uint32_t best = n;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t at = warp->paused ? (warp->current + 1 + k) % n : k; /* who spins lets the others go first */
        if (warp->paths[at].wait != TRCPU_WAIT_NOTHING) continue;
        if (best == n || (!warp->paused && warp->paths[at].pc < warp->paths[best].pc)) best = at;
    }
    warp->current = best < n ? best : 0;
    if (best == n) {
        warp->state = TRCPU_WARP_BLOCKED;
        return false;
    }
    warp->pc = warp->paths[best].pc;
    warp->active = warp->paths[best].active;
    warp->stop = UINTPTR_MAX;
    for (uint32_t k = 0; k < n; k++) {
        uintptr_t pc = (uintptr_t)warp->paths[k].pc;
        if (k != best && warp->paths[k].wait != TRCPU_WAIT_BARRIER && pc > (uintptr_t)warp->pc &&
            pc < warp->stop)
            warp->stop = pc;
    }
    warp->state = TRCPU_WARP_READY;
    return true;
}

const trcpu_insn *trcpu_warp_split(trcpu_warp *warp, const trcpu_insn *next, const trcpu_insn *target,
                                   uint32_t mask) {
    warp->paths[warp->current] = (trcpu_path){.pc = next, .active = warp->active & ~mask};
    warp->paths[warp->path_count++] = (trcpu_path){.pc = target, .active = mask};
    return TRCPU_LEAVE;
}

const trcpu_insn *trcpu_warp_branch(trcpu_warp *warp, const trcpu_insn *insn, const trcpu_insn *target,
                                    uint32_t mask) {
    if (mask != warp->active) {
        if (target <= insn && warp->fuel) warp->fuel--; /* the pause comes with the first branch all take */
        return trcpu_warp_split(warp, insn + 1, target, mask);
    }
    return target <= insn && (warp->fuel == 0 || --warp->fuel == 0) ? trcpu_warp_pause(warp, target) : target;
}

/* Out of fuel after a number of backward branches. A loop that looks at what others write is given up for a
   while; one that computes goes on. */
const trcpu_insn *trcpu_warp_pause(trcpu_warp *warp, const trcpu_insn *next) {
    trcpu_run *run = warp->launch;
    uint32_t used = FUEL - warp->fuel;
    bool waits =
        2 * warp->syncs >= used; /* for what does not come: the end is nearer than that of a long loop */
    warp->branches += waits ? 8 * (uint64_t)used + 1 : used;
    bool spins = waits || warp->branches / FUEL % PAUSE_ANYWAY == 0;
    warp->fuel = FUEL;
    warp->syncs = 0;
    if (warp->branches >= run->limit)
        return trcpu_fault_report(warp, next, (uint32_t)__builtin_ctz(warp->active), 702, "infinite-loop",
                                  "the warp branched backwards %llu times: this loop does not end",
                                  (unsigned long long)warp->branches);
    if (!spins && !atomic_load_explicit(&run->stopped, memory_order_relaxed) && warp->path_count == 1)
        return next;
    warp->paths[warp->current] = (trcpu_path){.pc = next, .active = warp->active};
    warp->paused = true;
    return TRCPU_LEAVE;
}

const trcpu_insn *trcpu_warp_exit(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask) {
    warp->live &= ~mask;
    if (!warp->live) warp->cta->threads_left -= 32;
    warp->paths[warp->current] = (trcpu_path){.pc = insn + 1, .active = warp->active & ~mask};
    for (uint32_t k = 0; k < warp->path_count; k++)
        if (warp->paths[k].wait == TRCPU_WAIT_LANES) warp->paths[k].wait = TRCPU_WAIT_NOTHING;
    return TRCPU_LEAVE;
}

const trcpu_insn *trcpu_warp_gather(trcpu_warp *warp, const trcpu_insn *insn, uint32_t members) {
    (void)members;
    warp->paths[warp->current] = (trcpu_path){.pc = insn, .active = warp->active, .wait = TRCPU_WAIT_LANES};
    return TRCPU_LEAVE;
}
