/* Named barriers of a CTA. */
#include "machine/checks.h"
#include "machine/warp.h"

enum { RED_POPC = 1, RED_AND = 2, RED_OR = 3 }; /* the mode of a bar.red, as its form has it */

/* A bar.red leaves its result in a register: op[0]. */
static void give_result(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                        const trcpu_barrier *barrier) {
    uint32_t *row = (uint32_t *)(void *)(warp->file + insn->op[0]);
    if (insn->mode == RED_POPC) {
        for (uint32_t lane = 0; lane < 32; lane++)
            if (mask >> lane & 1) row[lane] = barrier->last_count;
    } else if (insn->mode == RED_AND || insn->mode == RED_OR) {
        uint32_t value = (insn->mode == RED_AND ? barrier->last_and : barrier->last_or) ? ~0u : 0;
        *row = (*row & ~mask) | (value & mask);
    }
}

/* A barrier without a count waits for all that have not exited. */
static bool complete(const trcpu_cta *cta, const trcpu_barrier *barrier) {
    return barrier->arrived &&
           barrier->arrived >= (barrier->expected ? barrier->expected : cta->threads_left);
}

/* The warp has waited at the barrier: it knows what all did before. */
static void learn(trcpu_warp *warp, uint32_t id) {
    if (!warp->shadow) return;
    if (warp->shadow->suspect.insn && warp->shadow->suspect.warp == warp->index)
        trcpu_shadow_settle(warp->shadow, warp->cta->warps);
    trcpu_order *order = &warp->shadow->order;
    trcpu_order_take(order, &order->barriers[id], warp->index);
    order->time[warp->index] = order->now;
}

static void release(trcpu_cta *cta, uint32_t id) {
    trcpu_barrier *barrier = &cta->barriers[id];
    if (cta->shadow) trcpu_order_tick(&cta->shadow->order);
    barrier->last_and = barrier->value_and;
    barrier->last_or = barrier->value_or;
    barrier->last_count = barrier->value_count;
    barrier->arrived = barrier->expected = 0;
    barrier->value_and = 1;
    barrier->value_or = barrier->value_count = 0;
    for (uint32_t w = 0; w < cta->warp_count; w++) {
        trcpu_warp *warp = &cta->warps[w];
        for (uint32_t k = 0; k < warp->path_count; k++) {
            trcpu_path *path = &warp->paths[k];
            if (path->wait != TRCPU_WAIT_BARRIER || path->barrier != id) continue;
            path->wait = TRCPU_WAIT_NOTHING;
            learn(warp, id);
            give_result(warp, path->pc - 1, path->active, barrier);
            if (warp->state == TRCPU_WARP_BLOCKED) warp->state = TRCPU_WARP_WOKEN;
        }
    }
}

void trcpu_barrier_check(trcpu_cta *cta, uint32_t id) {
    if (complete(cta, &cta->barriers[id])) release(cta, id);
}

const trcpu_insn *trcpu_barrier_wait(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, uint32_t id,
                                     uint32_t count, uint32_t values, bool arrive_only) {
    trcpu_cta *cta = warp->cta;
    uint32_t lane = (uint32_t)__builtin_ctz(mask);
    if (id >= 16)
        return trcpu_fault_report(warp, insn, lane, 715, "barrier", "barrier %u: there are 16, from 0", id);
    if (count % 32)
        return trcpu_fault_report(warp, insn, lane, 715, "barrier",
                                  "barrier %u is for %u threads, which is not a multiple of the warp size",
                                  id, count);
    trcpu_barrier *barrier = &cta->barriers[id];
    if (barrier->arrived && barrier->expected != count && barrier->expected && count)
        return trcpu_fault_report(warp, insn, lane, 719, "barrier-divergence",
                                  "barrier %u is for %u threads here, others wait at it for %u", id, count,
                                  barrier->expected);
    trcpu_order *order = warp->shadow ? &warp->shadow->order : NULL;
    if (order && !barrier->arrived) trcpu_order_forget(order, &order->barriers[id]);
    if (order) trcpu_order_give(order, &order->barriers[id], warp->index);
    if (order && arrive_only) trcpu_order_advance(order, warp->index);
    if (!barrier->arrived) {
        barrier->value_and = 1;
        barrier->value_or = barrier->value_count = 0;
    }
    if (count) barrier->expected = count;
    barrier->arrived += mask == warp->live ? 32 : (uint32_t)__builtin_popcount(mask);
    if (insn->mode) {
        values &= mask;
        barrier->value_and &= values == mask;
        barrier->value_or |= values != 0;
        barrier->value_count += (uint32_t)__builtin_popcount(values);
    }
    if (complete(cta, barrier)) {
        release(cta, id);
        if (!arrive_only) learn(warp, id);
        give_result(warp, insn, mask, barrier);
        return insn + 1;
    }
    if (arrive_only) return insn + 1;
    if (mask != warp->active) { /* the lanes the guard leaves out go on */
        trcpu_warp_split(warp, insn + 1, insn + 1, mask);
        trcpu_path *waiting = &warp->paths[warp->path_count - 1];
        waiting->wait = TRCPU_WAIT_BARRIER;
        waiting->barrier = (uint8_t)id;
        return TRCPU_LEAVE;
    }
    warp->paths[warp->current] = (trcpu_path){
        .pc = insn + 1, .active = warp->active, .wait = TRCPU_WAIT_BARRIER, .barrier = (uint8_t)id};
    return TRCPU_LEAVE;
}
