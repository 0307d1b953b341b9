/* Branches, calls, returns, and the machine's own instructions, whose names begin with %. */
#include "machine/lanes/lanes.h"
#include "machine/print.h"

#include <time.h>

HANDLER(bra) {
    const trcpu_insn *target = (const trcpu_insn *)(uintptr_t)insn->imm;
    if (mask == warp->active && target > insn) return target;
    return trcpu_warp_branch(warp, insn, target, mask);
}

/* Each lane goes where its index says; imm: the targets, their number first. */
HANDLER(brx) {
    const uint64_t *table = (const uint64_t *)(uintptr_t)insn->imm;
    const uint32_t *index = ROW(uint32_t, 0), first = (uint32_t)__builtin_ctz(mask);
    uint32_t same = 0;
    ACTIVE_LANES same |= (uint32_t)(index[l] == index[first]) << l;
    if (index[first] >= table[0])
        return trcpu_fault_report(warp, insn, first, 715, "illegal-branch", "index %u of %u targets",
                                  index[first], (uint32_t)table[0]);
    const trcpu_insn *target = (const trcpu_insn *)(uintptr_t)table[1 + index[first]];
    if (same == warp->active) return trcpu_warp_branch(warp, insn, target, mask);
    return trcpu_warp_split(warp, same == mask ? insn + 1 : insn, target, same);
}

HANDLER(leave) {
    return trcpu_warp_exit(warp, insn, mask);
}

/* Where lanes return to is a row of instruction numbers of the callee. */
HANDLER(call) {
    uint32_t *back = ROW(uint32_t, 0);
    uint32_t next = (uint32_t)(insn + 1 - warp->launch->function->code);
    ACTIVE_LANES back[l] = next;
    const trcpu_insn *target = (const trcpu_insn *)(uintptr_t)insn->imm;
    return mask == warp->active ? target : trcpu_warp_split(warp, insn + 1, target, mask);
}

HANDLER(give_back) {
    const uint32_t *back = ROW(uint32_t, 0);
    uint32_t target = back[__builtin_ctz(mask)], same = 0;
    ACTIVE_LANES same |= (uint32_t)(back[l] == target) << l;
    const trcpu_insn *next = warp->launch->function->code + target;
    if (same == warp->active) return next;
    /* the rest stays: at this instruction when it returns elsewhere, after it when its guard is false */
    return trcpu_warp_split(warp, same == mask ? insn + 1 : insn, next, same);
}

/* Bytes of the lane: a call's parameters. */
HANDLER(copy) {
    ACTIVE_LANES {
        char *frame = warp->local + (size_t)l * warp->local_bytes;
        memmove(frame + insn->op[0], frame + insn->op[1], insn->op[2]);
    }
    return insn + 1;
}

HANDLER(negate) {
    set_predicate(PREDICATE(0), ~*PREDICATE(1), mask);
    return insn + 1;
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

HANDLER(read_time) {
    (void)mask;
    bool clock = insn->mode <= TRCPU_CLOCK64;
    uint64_t value = nanoseconds(clock ? CLOCK_MONOTONIC : CLOCK_REALTIME);
    if (clock) value += value / 2; /* cycles of 1.5 GHz */
    if (insn->mode == TRCPU_CLOCK_HI || insn->mode == TRCPU_GLOBALTIMER_HI) value >>= 32;
    if (insn->mode == TRCPU_CLOCK64 || insn->mode == TRCPU_GLOBALTIMER) {
        uint64_t *d = ROW(uint64_t, 0);
        LANES d[l] = value;
    } else {
        uint32_t *d = ROW(uint32_t, 0);
        LANES d[l] = (uint32_t)value;
    }
    warp->syncs++;
    return insn + 1;
}

UNARY(widen, uint64_t, uint32_t, a)
UNARY(narrow, uint32_t, uint64_t, a)

HANDLER(offset64) {
    (void)mask;
    uint64_t *d = ROW(uint64_t, 0), *a = ROW(uint64_t, 1), offset = (uint64_t)insn->imm;
    LANES d[l] = a[l] + offset;
    return insn + 1;
}

HANDLER(offset32) {
    (void)mask;
    uint32_t *d = ROW(uint32_t, 0), *a = ROW(uint32_t, 1), offset = (uint32_t)insn->imm;
    LANES d[l] = a[l] + offset;
    return insn + 1;
}

/* ---- what the device's library provides ---- */
/* A string of the device, which may lie anywhere. */
static void read_string(void *context, uint64_t address, char *out, size_t room) {
    trcpu_warp *warp = context;
    uint64_t low, high;
    size_t n = 0;
    if (trcpu_memory_range(warp->launch->memory, address, 1, false, &low, &high))
        for (; n + 1 < room && address + n < high && trcpu_host_of(address)[n]; n++)
            out[n] = trcpu_host_of(address)[n];
    out[n] = 0;
}

static uint64_t parameter(const trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t k,
                          uint32_t bytes) {
    uint64_t value = 0;
    memcpy(&value, warp->local + (size_t)lane * warp->local_bytes + insn->op[k], bytes);
    return value;
}

HANDLER(call_vprintf) {
    trcpu_print_reader reader = {read_string, warp};
    ACTIVE_LANES {
        char format[2048];
        read_string(warp, parameter(warp, insn, l, 0, 8), format, sizeof format);
        uint64_t arguments = parameter(warp, insn, l, 1, 8), offset = arguments & ~TRCPU_WINDOW_MASK, low,
                 high;
        const char *from = NULL;
        size_t room = 0;
        if ((arguments & TRCPU_WINDOW_MASK) == TRCPU_WINDOW_LOCAL && offset < warp->local_bytes) {
            from = warp->local + (size_t)l * warp->local_bytes + offset;
            room = warp->local_bytes - offset;
        } else if (trcpu_memory_range(warp->launch->memory, arguments, 1, false, &low, &high)) {
            from = trcpu_host_of(arguments);
            room = high - arguments;
        }
        trcpu_print(format, from, room, &reader);
        uint32_t result = insn->op[TRCPU_INLINE_ROWS - 1];
        int32_t one = 1;
        if (result != ~0u) memcpy(warp->local + (size_t)l * warp->local_bytes + result, &one, sizeof one);
    }
    return insn + 1;
}

HANDLER(call_assertfail) {
    uint32_t lane = (uint32_t)__builtin_ctz(mask);
    char message[256], file[256], function[128];
    read_string(warp, parameter(warp, insn, lane, 0, 8), message, sizeof message);
    read_string(warp, parameter(warp, insn, lane, 1, 8), file, sizeof file);
    read_string(warp, parameter(warp, insn, lane, 3, 8), function, sizeof function);
    return trcpu_fault_report(warp, insn, lane, 710, "assert", "%s:%u: %s: assertion failed: %s", file,
                              (uint32_t)parameter(warp, insn, lane, 2, 4), function, message);
}

HANDLER(trap) {
    return trcpu_fault_report(warp, insn, (uint32_t)__builtin_ctz(mask), 719, "trap",
                              "the kernel executed a trap");
}

HANDLER(nothing) {
    (void)warp;
    (void)mask;
    return insn + 1;
}

HANDLER(sleep_a_little) {
    (void)mask;
    if (warp->fuel > 64)
        warp->fuel -= 64; /* who sleeps waits for others: give way soon */
    else
        warp->fuel = 1;
    warp->syncs += 64;
    return insn + 1;
}

#define BRANCH TRCPU_FORM_BRANCH
FORMS(control){
    {"%call", "", call, 0, 0},
    {"%exit", "", leave, 0, 0},
    {"%return", "", give_back, 0, 0},
    {"%copy", "", copy, 0, 0},
    {"%not", "", negate, 0, 0},
    {"%time", "", read_time, 0, 0},
    {"%widen", "", widen, 0, 0},
    {"%narrow", "", narrow, 0, 0},
    {"%offset64", "", offset64, 0, 0},
    {"%offset32", "", offset32, 0, 0},
    {"%vprintf", "", call_vprintf, 0, 0},
    {"%assertfail", "", call_assertfail, 0, 0},
    {"bra.?uni", "=N", bra, 0, BRANCH},
    {"brx.idx.?uni", "=wN", brx, 1, BRANCH},
    {"trap", "", trap, 0, 0},
    {"brkpt", "", trap, 0, 0},
    {"nanosleep.u32", "=w", sleep_a_little, 0, 0},
    {"membar.gl|cta|sys", "", nothing, 0, 0},
    {"fence.?sc|acq_rel|acquire|release.cta|cluster|gpu|sys", "", nothing, 0, 0},
    {"pmevent", "=_", nothing, 0, 0},
    {"pmevent.mask", "=_", nothing, 0, 0},
    {"prefetch.?global|local.L1|L2", "=_", nothing, 0, 0},
    {"prefetch.global.L2::evict_last|L2::evict_normal", "=_", nothing, 0, 0},
    {"prefetchu.L1", "=_", nothing, 0, 0},
    {"applypriority.?global.L2::evict_normal", "=__", nothing, 0, 0},
    {"discard.?global.L2", "=__", nothing, 0, 0},
    {"griddepcontrol.launch_dependents|wait", "", nothing, 0, 0},
    END_OF_FORMS,
};
