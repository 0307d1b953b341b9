/* mbarrier.*: see machine/mbarrier.h for what the object is. */
#include "machine/lanes/cluster.h"
#include "machine/mbarrier.h"

#include <stdio.h>

static uint64_t *barrier_at(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t address) {
    return (uint64_t *)(void *)shared_place(warp, insn, lane, address, 8, 8, true);
}

static const trcpu_insn *misuse(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane,
                                const char *problem) {
    return trcpu_fault_report(warp, insn, lane, 719, "mbarrier", "%s", problem);
}

/* Applies `operation`, an expression in `barrier` and `l` that answers a problem, for each active lane. */
#define EACH_BARRIER(row, operation)                                                                         \
    do {                                                                                                     \
        const uint32_t *address = ROW(uint32_t, row);                                                        \
        ACTIVE_LANES {                                                                                       \
            uint64_t *barrier = barrier_at(warp, insn, l, address[l]);                                       \
            if (!barrier) return TRCPU_LEAVE;                                                                \
            const char *problem = operation;                                                                 \
            if (problem) return misuse(warp, insn, l, problem);                                              \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    } while (0)

static const char *init_at(const trcpu_warp *warp, uint64_t *barrier, uint32_t address, uint32_t count) {
    trcpu_knowledge *gives = knowledge_at(warp, address, false);
    if (gives) memset(gives, 0, sizeof *gives);
    return trcpu_mbarrier_init(barrier, count);
}

HANDLER(init) {
    const uint32_t *count = ROW(uint32_t, 1);
    EACH_BARRIER(0, init_at(warp, barrier, address[l], count[l]));
}

HANDLER(inval) {
    EACH_BARRIER(0, trcpu_mbarrier_inval(barrier));
}

HANDLER(expect_tx) {
    const uint32_t *bytes = ROW(uint32_t, 1);
    EACH_BARRIER(0, trcpu_mbarrier_expect_tx(barrier, bytes[l]));
}

HANDLER(complete_tx) {
    const uint32_t *bytes = ROW(uint32_t, 1);
    EACH_BARRIER(0, trcpu_mbarrier_complete_tx(barrier, bytes[l]));
}

/* mode: what the last operand is, and whether the arrivals drop out of later phases */
enum { COUNT = 0, BYTES = 1, DROP = 2 };

static const char *arrive_once(uint64_t *barrier, uint64_t *state, uint32_t operand, uint8_t mode) {
    uint32_t count = mode & BYTES ? 1 : operand;
    *state = *barrier;
    const char *problem = mode & BYTES ? trcpu_mbarrier_expect_tx(barrier, operand) : NULL;
    return problem ? problem : trcpu_mbarrier_arrive(barrier, count, mode & DROP ? count : 0);
}

HANDLER(arrive) {
    uint64_t *state = ROW(uint64_t, 0);
    const uint32_t *operand = ROW(uint32_t, 2);
    warp->waits = 0;
    EACH_BARRIER(1, (give(warp, address[l]), arrive_once(barrier, &state[l], operand[l], insn->mode)));
}

HANDLER(arrive_one) {
    uint64_t *state = ROW(uint64_t, 0);
    warp->waits = 0;
    EACH_BARRIER(1, (give(warp, address[l]), arrive_once(barrier, &state[l], 1, insn->mode)));
}

/* ---- waiting ---- */
static const trcpu_insn *wait_on(trcpu_warp *warp, const trcpu_insn *insn, uint64_t barrier) {
    char what[120];
    snprintf(what, sizeof what,
             "a phase of an mbarrier that has %u arrivals pending and %d bytes still to come",
             trcpu_mbarrier_pending(barrier), trcpu_mbarrier_missing_bytes(barrier));
    return wait_for_others(warp, insn, insn + 1, what);
}

/* What this phase brought is written as of now, for who waits as well, or waits for this warp. */
static void land(trcpu_warp *warp, const trcpu_insn *insn, uint32_t address, uint32_t parity) {
    trcpu_flight flight;
    while (trcpu_inflight_land(&warp->cta->inflight, address & TRCPU_CLUSTER_OFFSET_MASK, parity, &flight)) {
        trcpu_knowledge *gives = knowledge_at(warp, address, true);
        if (!gives || flight.high > 16 * warp->shadow->count) continue;
        trcpu_order *order = &warp->shadow->order;
        trcpu_order_advance(order, warp->index);
        const trcpu_view v = view_of(warp, insn);
        trcpu_view_land(&v, flight.low / 4, (flight.high - flight.low) / 4);
        gives->time[warp->index] = v.time;
        trcpu_order_advance(order, warp->index);
    }
}

TRCPU_INLINE const trcpu_insn *test(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, bool by_parity) {
    const uint32_t *address = ROW(uint32_t, 1);
    uint32_t passed = 0;
    uint64_t last = 0;
    ACTIVE_LANES {
        const uint64_t *barrier = barrier_at(warp, insn, l, address[l]);
        if (!barrier) return TRCPU_LEAVE;
        if (!trcpu_mbarrier_is_valid(*barrier))
            return misuse(warp, insn, l, "the mbarrier is not initialised");
        bool done = by_parity ? trcpu_mbarrier_passed_parity(*barrier, ROW(uint32_t, 2)[l])
                              : trcpu_mbarrier_passed(*barrier, ROW(uint64_t, 2)[l]);
        uint32_t parity =
            by_parity ? ROW(uint32_t, 2)[l] & 1 : !trcpu_mbarrier_passed_parity(ROW(uint64_t, 2)[l], 1);
        if (!done)
            last = *barrier;
        else {
            take(warp, address[l]);
            land(warp, insn, address[l], parity);
        }
        passed |= (uint32_t)done << l;
    }
    set_predicate(PREDICATE(0), passed, mask);
    if (passed == mask)
        warp->waits = 0;
    else
        return wait_on(warp, insn, last);
    return insn + 1;
}

HANDLER(test_wait) {
    return test(warp, insn, mask, false);
}

HANDLER(test_wait_parity) {
    return test(warp, insn, mask, true);
}

HANDLER(pending_count) {
    uint32_t *d = ROW(uint32_t, 0);
    const uint64_t *state = ROW(uint64_t, 1);
    ACTIVE_LANES d[l] = trcpu_mbarrier_pending(state[l]);
    return insn + 1;
}

#define SCOPED ".?relaxed|release|acquire.?cta|cluster.?shared|shared::cluster.b64"
FORMS(mbarrier){
    {"mbarrier.init.?shared.b64", "=sw", init, 0, 0},
    {"mbarrier.inval.?shared.b64", "=s", inval, 0, 0},
    {"mbarrier.expect_tx" SCOPED, "=sw", expect_tx, 0, 0},
    {"mbarrier.complete_tx" SCOPED, "=sw", complete_tx, 0, 0},
    {"mbarrier.arrive" SCOPED, "d=s", arrive_one, COUNT, 0},
    {"mbarrier.arrive" SCOPED, "d=sw", arrive, COUNT, 0},
    {"mbarrier.arrive.noComplete" SCOPED, "d=sw", arrive, COUNT, 0},
    {"mbarrier.arrive.expect_tx" SCOPED, "d=sw", arrive, BYTES, 0},
    {"mbarrier.arrive_drop" SCOPED, "d=s", arrive_one, COUNT | DROP, 0},
    {"mbarrier.arrive_drop" SCOPED, "d=sw", arrive, COUNT | DROP, 0},
    {"mbarrier.arrive_drop.noComplete" SCOPED, "d=sw", arrive, COUNT | DROP, 0},
    {"mbarrier.arrive_drop.expect_tx" SCOPED, "d=sw", arrive, BYTES | DROP, 0},
    {"mbarrier.test_wait|try_wait" SCOPED, "p=sd?_", test_wait, 0, 0},
    {"mbarrier.test_wait|try_wait.parity" SCOPED, "p=sw?_", test_wait_parity, 0, 0},
    {"mbarrier.pending_count.b64", "w=d", pending_count, 0, 0},
    END_OF_FORMS,
};
