#include "machine/watch.h"

#include "machine/checks.h"
#include "machine/traces.h"
#include "machine/warp.h"

#include <stdlib.h>
#include <string.h>

enum { NOBODY = -1, PAGE_SHIFT = 12, MOST_KNOWN = 4096 };

typedef struct known { /* everything a CTA did up to a mark */
    uint32_t cta, mark;
} known;

typedef struct knowledge {
    known *of;
    uint32_t count, room;
    uint32_t all; /* of every CTA up to here: when a list would be too long */
} knowledge;

typedef struct object { /* an address through which CTAs let one another know */
    uint64_t address;
    knowledge gives;
} object;

struct trcpu_watch {
    trcpu_traces *traces;
    uint32_t checks;
    uint32_t first; /* mark */
    pthread_mutex_t lock;
    int32_t *owners; /* mark - first → CTA */
    uint32_t owner_room;
    object *objects; /* a hash table, half full at most */
    uint32_t object_count, object_room;
};

struct trcpu_watcher {
    trcpu_watch *watch;
    uint32_t cta, mark;
    bool gave; /* it has had other marks */
    knowledge knows;
};

trcpu_watch *trcpu_watch_create(trcpu_traces *traces, uint32_t checks) {
    trcpu_watch *watch = calloc(1, sizeof *watch);
    if (!watch) return NULL;
    if (!traces->written) checks &= ~(uint32_t)TRCPU_CHECK_UNINITIALISED_GLOBAL;
    watch->traces = traces;
    watch->checks = checks;
    watch->first = atomic_load(&traces->next);
    if (pthread_mutex_init(&watch->lock, NULL) == 0) return watch;
    free(watch);
    return NULL;
}

void trcpu_watch_destroy(trcpu_watch *watch) {
    if (!watch) return;
    for (uint32_t i = 0; i < watch->object_room; i++) free(watch->objects[i].gives.of);
    free(watch->objects);
    free(watch->owners);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

/* ---- marks ---- */
/* Under the lock. Past the last mark, or without memory, CTAs share one: nothing more is told apart. */
static uint32_t next_mark(trcpu_watch *watch, uint32_t cta) {
    if (atomic_load(&watch->traces->next) >= TRCPU_TRACE_END) return 0;
    uint32_t mark = atomic_fetch_add(&watch->traces->next, 1), at = mark - watch->first;
    if (at >= watch->owner_room) {
        uint32_t room = watch->owner_room ? 2 * watch->owner_room : 1024;
        while (room <= at) room *= 2;
        int32_t *larger = realloc(watch->owners, room * sizeof *larger);
        if (!larger) return 0;
        memset(larger + watch->owner_room, 0xff, (room - watch->owner_room) * sizeof *larger);
        watch->owners = larger;
        watch->owner_room = room;
    }
    watch->owners[at] = (int32_t)cta;
    return mark;
}

/* NOBODY: of another launch, which runs beside this one. */
static int32_t owner_of(const trcpu_watch *watch, uint32_t mark) {
    uint32_t at = mark - watch->first;
    return mark >= watch->first && at < watch->owner_room ? watch->owners[at] : NOBODY;
}

trcpu_watcher *trcpu_watcher_create(void) {
    return calloc(1, sizeof(trcpu_watcher));
}

void trcpu_watcher_destroy(trcpu_watcher *watcher) {
    if (!watcher) return;
    free(watcher->knows.of);
    free(watcher);
}

void trcpu_watcher_begin(trcpu_watcher *watcher, trcpu_watch *watch, uint32_t cta) {
    pthread_mutex_lock(&watch->lock);
    watcher->watch = watch;
    watcher->cta = cta;
    watcher->gave = false;
    watcher->knows.count = watcher->knows.all = 0;
    watcher->mark = next_mark(watch, cta);
    pthread_mutex_unlock(&watch->lock);
}

/* ---- knowledge ---- */
static void learn(knowledge *k, uint32_t cta, uint32_t mark) {
    for (uint32_t i = 0; i < k->count; i++)
        if (k->of[i].cta == cta) {
            if (k->of[i].mark < mark) k->of[i].mark = mark;
            return;
        }
    if (k->count == k->room && k->count < MOST_KNOWN) {
        uint32_t room = k->room ? 2 * k->room : 8;
        known *larger = realloc(k->of, room * sizeof *larger);
        if (larger) {
            k->of = larger;
            k->room = room;
        }
    }
    if (k->count < k->room)
        k->of[k->count++] = (known){cta, mark};
    else if (k->all < mark) /* too many: a race may be missed, none is made up */
        k->all = mark;
}

static void learn_all(knowledge *k, const knowledge *from) {
    for (uint32_t i = 0; i < from->count; i++) learn(k, from->of[i].cta, from->of[i].mark);
    if (k->all < from->all) k->all = from->all;
}

static bool knows(const knowledge *k, uint32_t cta, uint32_t mark) {
    if (mark <= k->all) return true;
    for (uint32_t i = 0; i < k->count; i++)
        if (k->of[i].cta == cta) return mark <= k->of[i].mark;
    return false;
}

static object *place_of(object *objects, uint32_t room, uint64_t address) {
    uint32_t at = (uint32_t)(address * 0x9e3779b97f4a7c15u >> 32) & (room - 1);
    while (objects[at].address && objects[at].address != address) at = (at + 1) & (room - 1);
    return &objects[at];
}

static object *find_object(trcpu_watch *watch, uint64_t address, bool create) {
    if (2 * (watch->object_count + 1) > watch->object_room) {
        uint32_t room = watch->object_room ? 2 * watch->object_room : 64;
        object *larger = calloc(room, sizeof *larger);
        if (!larger) return NULL;
        for (uint32_t i = 0; i < watch->object_room; i++)
            if (watch->objects[i].address)
                *place_of(larger, room, watch->objects[i].address) = watch->objects[i];
        free(watch->objects);
        watch->objects = larger;
        watch->object_room = room;
    }
    object *found = place_of(watch->objects, watch->object_room, address);
    if (found->address) return found;
    if (!create) return NULL;
    found->address = address;
    watch->object_count++;
    return found;
}

void trcpu_watch_give(trcpu_warp *warp, uint64_t address) {
    trcpu_watcher *me = warp->cta->watcher;
    trcpu_watch *watch = me->watch;
    if (!(watch->checks & TRCPU_CHECK_RACE_GLOBAL)) return;
    pthread_mutex_lock(&watch->lock);
    object *o = find_object(watch, address, true);
    if (o) {
        learn_all(&o->gives, &me->knows);
        learn(&o->gives, me->cta, me->mark);
    }
    me->mark = next_mark(watch, me->cta);
    me->gave = true;
    pthread_mutex_unlock(&watch->lock);
}

void trcpu_watch_take(trcpu_warp *warp, uint64_t address) {
    trcpu_watcher *me = warp->cta->watcher;
    trcpu_watch *watch = me->watch;
    if (!(watch->checks & TRCPU_CHECK_RACE_GLOBAL)) return;
    pthread_mutex_lock(&watch->lock);
    object *o = find_object(watch, address, false);
    if (o) learn_all(&me->knows, &o->gives);
    pthread_mutex_unlock(&watch->lock);
}

/* ---- races ---- */
typedef struct conflict {
    enum { NONE, WITH_WRITE, WITH_READ } with;
    int32_t cta; /* NOBODY: one of several */
} conflict;

/* Does what bears this mark come before, for all that is known? *cta: whose it is. */
static bool comes_before(trcpu_watcher *me, uint32_t mark, int32_t *cta) {
    if (mark < me->watch->first || mark == me->mark) return true;
    pthread_mutex_lock(&me->watch->lock);
    *cta = owner_of(me->watch, mark);
    bool before = *cta == NOBODY || *cta == (int32_t)me->cta || knows(&me->knows, (uint32_t)*cta, mark);
    pthread_mutex_unlock(&me->watch->lock);
    return before;
}

static conflict readers_before(trcpu_watcher *me, trcpu_trace t) {
    uint32_t read = t.read & ~TRCPU_TRACE_SEVERAL;
    int32_t cta = NOBODY;
    if (read < me->watch->first) return (conflict){NONE, 0};
    if (!comes_before(me, read, &cta)) return (conflict){WITH_READ, cta};
    bool others = t.read & TRCPU_TRACE_SEVERAL && !me->knows.count && !me->knows.all;
    return (conflict){others ? WITH_READ : NONE, NOBODY};
}

static void note_read(trcpu_watcher *me, trcpu_trace *t) {
    uint32_t read = t->read & ~TRCPU_TRACE_SEVERAL, several = t->read & TRCPU_TRACE_SEVERAL;
    int32_t cta = (int32_t)me->cta;
    if (read == me->mark) return;
    if (read < me->watch->first)
        several = 0;
    else if (!me->gave || (comes_before(me, read, &cta), cta != (int32_t)me->cta))
        several = TRCPU_TRACE_SEVERAL;
    t->read = me->mark | several;
}

static conflict judge(trcpu_watcher *me, trcpu_trace *t, trcpu_watch_kind kind) {
    conflict found = {NONE, 0};
    bool atomics = kind == TRCPU_WATCH_ATOMIC && t->write & TRCPU_TRACE_ATOMIC;
    if (!atomics && !comes_before(me, t->write & ~TRCPU_TRACE_ATOMIC, &found.cta)) found.with = WITH_WRITE;
    if (kind == TRCPU_WATCH_READ) {
        note_read(me, t);
        return found;
    }
    if (!found.with) found = readers_before(me, *t);
    *t = (trcpu_trace){.write = me->mark | (kind == TRCPU_WATCH_ATOMIC ? TRCPU_TRACE_ATOMIC : 0)};
    return found;
}

/* Part of one granule, or all of it. */
static conflict judge_granule(trcpu_watcher *me, uint64_t at, uint32_t bytes, trcpu_watch_kind kind,
                              uint64_t *bad) {
    trcpu_traces *traces = me->watch->traces;
    trcpu_trace *granule = &traces->granules[at / TRCPU_TRACE_GRANULE];
    const bool whole = bytes == TRCPU_TRACE_GRANULE;
    conflict worst = {NONE, 0};
    *bad = at;
    if (whole && granule->write != TRCPU_TRACE_MIXED) return judge(me, granule, kind);
    if (granule->write != TRCPU_TRACE_MIXED) {
        trcpu_trace *each = &traces->bytes[at & ~(uint64_t)(TRCPU_TRACE_GRANULE - 1)];
        for (int i = 0; i < TRCPU_TRACE_GRANULE; i++) each[i] = *granule;
        granule->write = TRCPU_TRACE_MIXED;
    }
    for (uint64_t byte = at; byte < at + bytes; byte++) {
        conflict found = judge(me, &traces->bytes[byte], kind);
        if (found.with && !worst.with) {
            worst = found;
            *bad = byte;
        }
    }
    if (whole && kind == TRCPU_WATCH_WRITE) *granule = traces->bytes[at];
    return worst;
}

/* Whole granules that nobody else has touched: the way of nearly all. Returns how many of them. */
static uint64_t pass_plain(const trcpu_watcher *me, trcpu_trace *granules, uint64_t count,
                           trcpu_watch_kind kind) {
    const uint32_t first = me->watch->first, mark = me->mark;
    uint64_t n = 0;
    if (kind == TRCPU_WATCH_READ) {
        for (; n < count; n++) {
            trcpu_trace *t = &granules[n];
            if (t->write >= first && t->write != mark) break;
            if (t->read >= first && t->read != mark) {
                if (me->gave || t->read >= TRCPU_TRACE_END + TRCPU_TRACE_SEVERAL) break;
                t->read = mark | TRCPU_TRACE_SEVERAL;
            } else {
                t->read = mark;
            }
        }
        return n;
    }
    if (kind == TRCPU_WATCH_ATOMIC) return 0;
    for (; n < count; n++) {
        trcpu_trace *t = &granules[n];
        if ((t->write >= first && t->write != mark) || (t->read >= first && t->read != mark)) break;
        *t = (trcpu_trace){.write = mark};
    }
    return n;
}

static bool report(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t address, conflict found,
                   trcpu_watch_kind kind) {
    const char *verb = kind == TRCPU_WATCH_READ    ? "read"
                       : kind == TRCPU_WATCH_WRITE ? "write"
                                                   : "atomic operation";
    const char *did = found.with == WITH_WRITE ? "wrote" : "has read";
    const uint32_t *grid = warp->launch->launch->grid;
    trcpu_fault_address(warp, address);
    if (found.cta == NOBODY)
        trcpu_fault_report(warp, insn, lane, 719, "race-global",
                           "%s at 0x%llx, which other CTAs have read: nothing orders them", verb,
                           (unsigned long long)address);
    else
        trcpu_fault_report(warp, insn, lane, 719, "race-global",
                           "%s at 0x%llx, which CTA (%u, %u, %u) %s: nothing orders the two", verb,
                           (unsigned long long)address, (uint32_t)found.cta % grid[0],
                           (uint32_t)found.cta / grid[0] % grid[1], (uint32_t)found.cta / grid[0] / grid[1],
                           did);
    return false;
}

/* Under the lock of its page: [at, at + size), offsets from the base. */
static conflict judge_page(trcpu_watcher *me, uint64_t at, uint64_t size, trcpu_watch_kind kind,
                           uint64_t *bad) {
    trcpu_traces *traces = me->watch->traces;
    for (uint64_t end = at + size; at < end;) {
        if (at % TRCPU_TRACE_GRANULE == 0)
            at += TRCPU_TRACE_GRANULE * pass_plain(me, &traces->granules[at / TRCPU_TRACE_GRANULE],
                                                   (end - at) / TRCPU_TRACE_GRANULE, kind);
        if (at == end) break;
        uint64_t step = TRCPU_TRACE_GRANULE - at % TRCPU_TRACE_GRANULE;
        if (step > end - at) step = end - at;
        conflict found = judge_granule(me, at, (uint32_t)step, kind, bad);
        if (found.with) return found;
        at += step;
    }
    return (conflict){NONE, 0};
}

static bool check_races(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t address,
                        uint64_t bytes, trcpu_watch_kind kind, uint32_t each) {
    trcpu_watcher *me = warp->cta->watcher;
    trcpu_traces *traces = me->watch->traces;
    uint64_t at = address - traces->base, end = at + bytes, bad = 0;
    if (!me->mark) return true;
    for (uint64_t next; at < end; at = next) {
        next = ((at >> PAGE_SHIFT) + 1) << PAGE_SHIFT;
        if (next > end) next = end;
        atomic_flag *lock = &traces->locks[(at >> PAGE_SHIFT) % TRCPU_TRACE_LOCKS];
        while (atomic_flag_test_and_set_explicit(lock, memory_order_acquire)) {
        }
        conflict found = judge_page(me, at, next - at, kind, &bad);
        atomic_flag_clear_explicit(lock, memory_order_release);
        if (found.with) {
            if (each) lane = (uint32_t)((traces->base + bad - address) / each);
            return report(warp, insn, lane, traces->base + bad, found, kind);
        }
    }
    return true;
}

/* `each`: bytes of a lane, when all 32 access side by side; 0: they are of one lane. */
static bool check(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t address, uint64_t bytes,
                  trcpu_watch_kind kind, uint32_t each) {
    const trcpu_watch *watch = warp->watch;
    trcpu_traces *traces = watch->traces;
    if (!trcpu_traces_cover(traces, address, bytes)) return true; /* memory of the host */
    const bool strong = insn->flags & TRCPU_HAS_SYNC && kind != TRCPU_WATCH_ATOMIC;
    if (watch->checks & TRCPU_CHECK_UNINITIALISED_GLOBAL && kind != TRCPU_WATCH_WRITE) {
        uint64_t ok = trcpu_traces_unwritten(traces, address, bytes);
        if (ok < bytes) {
            trcpu_fault_address(warp, address + ok);
            trcpu_fault_report(
                warp, insn, each ? (uint32_t)(ok / each) : lane, 719, "uninitialised-global",
                "read at 0x%llx, which neither a kernel nor a copy has written since it was allocated",
                (unsigned long long)(address + ok));
            return false;
        }
    }
    if (kind != TRCPU_WATCH_READ) trcpu_traces_wrote(traces, address, bytes);
    const bool unordered = strong || insn->flags & TRCPU_BEGINS_SWAP;
    if (!(watch->checks & TRCPU_CHECK_RACE_GLOBAL) || (unordered && kind == TRCPU_WATCH_READ)) return true;
    return check_races(warp, insn, lane, address, bytes, strong ? TRCPU_WATCH_ATOMIC : kind, each);
}

bool trcpu_watch_range(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t address,
                       uint64_t bytes, trcpu_watch_kind kind) {
    return check(warp, insn, lane, address, bytes, kind, 0);
}

bool trcpu_watch_lanes(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, const uint64_t address[32],
                       uint32_t bytes, trcpu_watch_kind kind) {
    uint64_t apart = 0;
    if (kind == TRCPU_WATCH_WRITE && insn->flags & TRCPU_HAS_SYNC && !(mask & (mask - 1)))
        trcpu_watch_give(warp, address[__builtin_ctz(mask)]);
    for (uint32_t l = 0; l < 32; l++) apart |= address[l] ^ (address[0] + (uint64_t)l * bytes);
    if (!apart && mask == ~0u) return check(warp, insn, 0, address[0], 32 * (uint64_t)bytes, kind, bytes);
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        uint32_t l = (uint32_t)__builtin_ctz(rest);
        if (!check(warp, insn, l, address[l], bytes, kind, 0)) return false;
    }
    return true;
}
