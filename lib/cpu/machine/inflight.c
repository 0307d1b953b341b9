#include "machine/warp.h"

void trcpu_inflight_add(trcpu_inflight *in, trcpu_flight flight) {
    uint32_t count = in->readers + in->writers;
    if (in->off || count == TRCPU_FLIGHT_ROOM) return;
    in->flights[count] = flight;
    if (flight.kind == TRCPU_FLIGHT_LOAD)
        in->writers++;
    else
        in->readers++;
}

static void remove_at(trcpu_inflight *in, uint32_t i) {
    uint32_t last = in->readers + in->writers - 1;
    if (in->flights[i].kind == TRCPU_FLIGHT_LOAD)
        in->writers--;
    else
        in->readers--;
    in->flights[i] = in->flights[last];
}

void trcpu_inflight_waited(trcpu_inflight *in, trcpu_flight_kind kind, uint32_t owner, uint32_t group) {
    for (uint32_t i = in->readers + in->writers; i-- > 0;) {
        const trcpu_flight *f = &in->flights[i];
        if (f->kind == kind && f->owner == owner && f->group < group) remove_at(in, i);
    }
}

bool trcpu_inflight_land(trcpu_inflight *in, uint32_t barrier, uint32_t parity, trcpu_flight *landed) {
    for (uint32_t i = in->readers + in->writers; i-- > 0;) {
        *landed = in->flights[i];
        if (landed->kind != TRCPU_FLIGHT_LOAD || landed->barrier != barrier || landed->parity != parity)
            continue;
        remove_at(in, i);
        return true;
    }
    return false;
}

const trcpu_flight *trcpu_inflight_find(const trcpu_inflight *in, uint32_t low, uint32_t high, bool write) {
    for (uint32_t i = 0; i < in->readers + in->writers; i++) {
        const trcpu_flight *f = &in->flights[i];
        if (low < f->high && f->low < high && (write || f->kind == TRCPU_FLIGHT_LOAD)) return f;
    }
    return NULL;
}

const trcpu_insn *trcpu_inflight_report(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane,
                                        const trcpu_flight *flight, uint32_t address, bool write) {
    static const char *const what[] = {"a wgmma may still read it: wgmma.wait_group comes first",
                                       "a bulk store may still read it: cp.async.bulk.wait_group comes first",
                                       "a bulk copy may still fill it: a wait on its mbarrier comes first"};
    const trcpu_function *f = warp->launch->function;
    const trcpu_statement *started = f->sources[(const trcpu_insn *)flight->insn - f->code].statement;
    return trcpu_fault_report(warp, insn, lane, 719, "missing-wait",
                              "shared memory at 0x%x is %s while %s (started at PTX line %u)", address,
                              write ? "written" : "read", what[flight->kind], started ? started->line : 0);
}
