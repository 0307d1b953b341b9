#include "machine/shadow.h"

#include "machine/checks.h"
#include "machine/warp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

trcpu_shadow *trcpu_shadow_create(uint32_t shared_bytes, uint32_t checks) {
    trcpu_shadow *shadow = calloc(1, sizeof *shadow);
    const size_t count = (shared_bytes + 15) / 16;
    if (!shadow ||
        posix_memalign((void **)&shadow->chunks, sizeof(trcpu_chunk), count * sizeof(trcpu_chunk))) {
        free(shadow);
        return NULL;
    }
    memset(shadow->chunks, 0, count * sizeof(trcpu_chunk));
    shadow->checks = checks;
    shadow->words = 4 * (uint32_t)count;
    return shadow;
}

void trcpu_shadow_destroy(trcpu_shadow *shadow) {
    if (!shadow) return;
    trcpu_order_release(&shadow->order);
    free(shadow->chunks);
    free(shadow->times);
    free(shadow->fine.write);
    free(shadow);
}

/* ---- cells ---- */
typedef struct cell {
    uint32_t *write, *read, *readers;
    uint32_t *times; /* NULL: the cell of a byte, which has none */
} cell;

static cell cell_of(trcpu_shadow *shadow, uint32_t at, bool byte) {
    if (byte) return (cell){&shadow->fine.write[at], &shadow->fine.read[at], &shadow->fine.readers[at], NULL};
    trcpu_chunk *chunk = &shadow->chunks[at / 16];
    const uint32_t k = at / 4 % 4;
    return (cell){&chunk->write[k], &chunk->read[k], &chunk->readers[k],
                  shadow->times ? shadow->times[at / 4] : NULL};
}

/* Cells of CTAs before are older than the new one's base; once in a long while time begins anew. */
void trcpu_shadow_begin(trcpu_shadow *shadow, uint32_t warps, bool unlanded) {
    if (shadow->order.now > TRCPU_ORDER_END / 2) {
        shadow->order.now = 0;
        memset(shadow->chunks, 0, shadow->words / 4 * sizeof *shadow->chunks);
    }
    trcpu_order_begin(&shadow->order, warps);
    shadow->suspect.insn = NULL;
    bool odd = shadow->odd || unlanded;
    shadow->odd = false;
    for (uint32_t word = 0; odd && word < shadow->words;
         word++) { /* none is to be taken for one of this CTA */
        cell c = cell_of(shadow, 4 * word, false);
        if (*c.write >= TRCPU_SHADOW_PENDING || *c.read == TRCPU_SHADOW_WIDE)
            *c.write = *c.read = *c.readers = 0;
    }
}

typedef enum problem { NONE, UNSET, PENDING, WRITTEN, READ } problem;

typedef struct finding {
    problem what;
    uint32_t other; /* warp */
} finding;

static bool make_times(trcpu_shadow *shadow) {
    if (!shadow->times) shadow->times = calloc(shadow->words, sizeof *shadow->times);
    return shadow->times != NULL;
}

/* The word gets cells for its bytes, that are as it was. False: no memory, it stays as it is. */
static bool refine(trcpu_shadow *shadow, uint32_t word) {
    cell c = cell_of(shadow, 4 * word, false);
    if (*c.write == TRCPU_SHADOW_FINE) return true;
    if (!shadow->fine.write) {
        uint32_t *cells = calloc(shadow->words, 12 * sizeof *cells);
        if (!cells) return false;
        shadow->fine.write = cells;
        shadow->fine.read = cells + 4 * (size_t)shadow->words;
        shadow->fine.readers = cells + 8 * (size_t)shadow->words;
    }
    bool wide = *c.read == TRCPU_SHADOW_WIDE; /* who read when is given up: no false alarm comes of it */
    for (uint32_t byte = 4 * word; byte < 4 * word + 4; byte++) {
        shadow->fine.write[byte] = *c.write;
        shadow->fine.read[byte] = wide ? 0 : *c.read;
        shadow->fine.readers[byte] = wide ? 0 : *c.readers;
    }
    shadow->odd = true;
    *c.write = TRCPU_SHADOW_FINE;
    *c.read = *c.readers = 0;
    return true;
}

/* A reader (or another atomic) that isn't known to come before; -1: there is none. */
static int unordered_reader(const trcpu_order *order, cell c, uint32_t warp) {
    if (*c.read == TRCPU_SHADOW_WIDE) {
        for (uint32_t v = 0; v < order->warps; v++)
            if (!trcpu_order_before(order, v, c.times[v], warp)) return (int)v;
        return -1;
    }
    for (uint32_t rest = *c.readers; rest; rest &= rest - 1) {
        uint32_t v = (uint32_t)__builtin_ctz(rest);
        if (!trcpu_order_before(order, v, *c.read, warp)) return (int)v;
    }
    return -1;
}

static void note_read(trcpu_shadow *shadow, cell c, uint32_t at, uint32_t warp) {
    const trcpu_order *order = &shadow->order;
    const uint32_t time = order->time[warp];
    if (*c.read == TRCPU_SHADOW_WIDE) {
        c.times[warp] = time;
    } else if (*c.read == time) {
        *c.readers |= 1u << warp;
    } else if (unordered_reader(order, c, warp) < 0) {
        *c.read = time;
        *c.readers = 1u << warp;
    } else if (c.write == cell_of(shadow, at, false).write && make_times(shadow)) {
        uint32_t *times = shadow->times[at / 4];
        for (uint32_t v = 0; v < order->warps; v++) times[v] = *c.readers >> v & 1 ? *c.read : 0;
        times[warp] = time;
        shadow->odd = true;
        *c.read = TRCPU_SHADOW_WIDE;
        *c.readers = 0;
    } else { /* the earlier time stands for both: a race may be missed, none is made up */
        *c.readers |= 1u << warp;
        if (time < *c.read) *c.read = time;
    }
}

/* The last write, when it doesn't come before. */
static finding last_write(const trcpu_shadow *shadow, cell c, uint32_t warp, bool atomic) {
    const trcpu_order *order = &shadow->order;
    const uint32_t write = *c.write, writer = write & TRCPU_SHADOW_WARP;
    if (write == TRCPU_SHADOW_PENDING) return (finding){PENDING, 0};
    if (write < order->base << TRCPU_SHADOW_TIME) return (finding){UNSET, 0};
    if (write & TRCPU_SHADOW_ATOMIC) {
        int other = atomic ? -1 : unordered_reader(order, c, warp);
        return (finding){other < 0 ? NONE : WRITTEN, (uint32_t)other};
    }
    bool before = trcpu_order_before(order, writer, write >> TRCPU_SHADOW_TIME, warp);
    return (finding){before ? NONE : WRITTEN, writer};
}

static finding read_cell(trcpu_shadow *shadow, cell c, uint32_t at, uint32_t warp) {
    finding found = last_write(shadow, c, warp, false);
    if (found.what == PENDING) return found;
    if (found.what == NONE &&
        *c.write & TRCPU_SHADOW_ATOMIC) { /* the atomics are over, what reads is a reader */
        *c.write &= ~(uint32_t)TRCPU_SHADOW_ATOMIC;
        *c.read = *c.readers = 0;
    }
    note_read(shadow, c, at, warp);
    return found;
}

static finding write_cell(trcpu_shadow *shadow, cell c, uint32_t warp) {
    finding found = last_write(shadow, c, warp, false);
    if (found.what == PENDING) return found;
    if (found.what == UNSET) found.what = NONE;
    int reader = found.what == NONE ? unordered_reader(&shadow->order, c, warp) : -1;
    if (reader >= 0) found = (finding){READ, (uint32_t)reader};
    *c.write = shadow->order.time[warp] << TRCPU_SHADOW_TIME | warp;
    *c.read = *c.readers = 0;
    return found;
}

static finding atomic_cell(trcpu_shadow *shadow, cell c, uint32_t at, uint32_t warp) {
    bool among_atomics = *c.write < TRCPU_SHADOW_PENDING && *c.write & TRCPU_SHADOW_ATOMIC;
    finding found = last_write(shadow, c, warp, true);
    if (found.what == PENDING) return found;
    int reader = found.what == NONE && !among_atomics ? unordered_reader(&shadow->order, c, warp) : -1;
    if (reader >= 0) found = (finding){READ, (uint32_t)reader};
    if (!among_atomics || found.what == UNSET) *c.read = *c.readers = 0;
    *c.write = shadow->order.time[warp] << TRCPU_SHADOW_TIME | TRCPU_SHADOW_ATOMIC | warp;
    note_read(shadow, c, at, warp);
    return found;
}

/* ---- reports ---- */
/* Where an instruction stands in the source: "file:line (PTX line n)". */
static void where(char *out, size_t room, const trcpu_function *f, uint32_t insn) {
    const trcpu_statement *s = insn < f->code_size ? f->sources[insn].statement : NULL;
    const trcpu_ptx *ptx = f->module->ptx;
    out[0] = 0;
    if (!s) return;
    const trcpu_location *l = &ptx->locations[s->location];
    if (l->line && l->file < ptx->file_count)
        snprintf(out, room, " at %.*s:%u (PTX line %u)", (int)ptx->files[l->file].size,
                 ptx->files[l->file].at, l->line, s->line);
    else
        snprintf(out, room, " at PTX line %u", s->line);
}

static bool report(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, finding found,
                   bool write) {
    const trcpu_shadow *shadow = warp->shadow;
    const char *verb = write ? "write" : "read";
    char place[300];
    where(place, sizeof place, warp->launch->function, shadow->chunks[at / 16].source[at / 4 % 4]);
    trcpu_fault_address(warp, at);
    if (found.what == UNSET)
        trcpu_fault_report(warp, insn, lane, 719, "uninitialised-shared",
                           "%s of shared memory at 0x%x, which no thread of the CTA has written", verb, at);
    else if (found.what == PENDING)
        trcpu_fault_report(warp, insn, lane, 719, "missing-wait",
                           "%s of shared memory at 0x%x while a cp.async started%s still fills it: "
                           "cp.async.wait_group comes first",
                           verb, at, place);
    else if (found.what == WRITTEN)
        trcpu_fault_report(warp, insn, lane, 719, "race-shared",
                           "%s of shared memory at 0x%x, which warp %u wrote%s: no barrier orders the two",
                           verb, at, found.other, place);
    else
        trcpu_fault_report(warp, insn, lane, 719, "race-shared",
                           "%s of shared memory at 0x%x, which warp %u has read: no barrier orders the two",
                           verb, at, found.other);
    return false;
}

bool trcpu_shadow_settle(trcpu_shadow *shadow, trcpu_warp *warps) {
    trcpu_suspect s = shadow->suspect;
    if (!s.insn) return false;
    shadow->suspect.insn = NULL;
    report(&warps[s.warp], s.insn, s.lane, s.at, (finding){UNSET, 0}, false);
    return true;
}

/* Others may still write it, which makes it a race: true when that is to be waited for. */
static bool may_wait(trcpu_shadow *shadow, const trcpu_insn *insn, trcpu_suspect suspect) {
    if (shadow->order.warps == 1 || !(shadow->checks & TRCPU_CHECK_RACE_SHARED)) return false;
    if (!shadow->suspect.insn) {
        shadow->suspect = suspect;
        shadow->suspect.insn = insn;
    }
    return true;
}

static bool is_wanted(uint32_t checks, problem what) {
    switch (what) {
    case NONE: return false;
    case UNSET: return checks & TRCPU_CHECK_UNINITIALISED_SHARED;
    case PENDING: return checks & TRCPU_CHECK_MISSING_WAIT;
    default: return checks & TRCPU_CHECK_RACE_SHARED;
    }
}

/* ---- accesses ---- */
typedef enum access { READS, WRITES, ATOMIC } access;

static finding look(trcpu_shadow *shadow, cell c, uint32_t at, uint32_t warp, access how) {
    return how == READS    ? read_cell(shadow, c, at, warp)
           : how == WRITES ? write_cell(shadow, c, warp)
                           : atomic_cell(shadow, c, at, warp);
}

/* The part of an access within one word; *bad: the byte of the finding. */
static finding look_at_word(trcpu_warp *warp, uint32_t at, uint32_t bytes, access how, uint32_t *bad) {
    trcpu_shadow *shadow = warp->shadow;
    cell c = cell_of(shadow, at, false);
    finding worst = {NONE, 0};
    *bad = at;
    if (bytes == 4 && *c.write != TRCPU_SHADOW_FINE) return look(shadow, c, at, warp->index, how);
    if (*c.write == TRCPU_SHADOW_PENDING) return (finding){PENDING, 0};
    if (!refine(shadow, at / 4)) return worst;
    for (uint32_t byte = at; byte < at + bytes; byte++) {
        finding found = look(shadow, cell_of(shadow, byte, true), byte, warp->index, how);
        if (found.what != NONE && worst.what == NONE) {
            worst = found;
            *bad = byte;
        }
    }
    if (bytes == 4 && how == WRITES && worst.what == NONE) { /* one again */
        *c.write = shadow->fine.write[at];
        *c.read = *c.readers = 0;
    }
    return worst;
}

static bool look_at_all(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, uint32_t bytes,
                        access how, const char *value) {
    trcpu_shadow *shadow = warp->shadow;
    for (uint32_t end = at + bytes, step; at < end; at += step) {
        step = 4 - at % 4 < end - at ? 4 - at % 4 : end - at;
        uint32_t bad;
        finding found = look_at_word(warp, at, step, how, &bad);
        bool same = value && found.what == WRITTEN && memcmp(warp->cta->shared + at, value, step) == 0;
        if (!same && is_wanted(shadow->checks, found.what) &&
            !(found.what == UNSET && may_wait(shadow, insn, (trcpu_suspect){NULL, warp->index, lane, bad})))
            return report(warp, insn, lane, bad, found, how != READS);
        if (how != READS && found.what != PENDING)
            shadow->chunks[at / 16].source[at / 4 % 4] = (uint32_t)(insn - warp->launch->function->code);
        if (value) value += step;
    }
    return true;
}

bool trcpu_shadow_read(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, uint32_t bytes) {
    return look_at_all(warp, insn, lane, at, bytes, READS, NULL);
}

bool trcpu_shadow_write(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, uint32_t bytes,
                        const void *value) {
    return look_at_all(warp, insn, lane, at, bytes, WRITES, value);
}

bool trcpu_shadow_atomic(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at,
                         uint32_t bytes) {
    return look_at_all(warp, insn, lane, at, bytes, ATOMIC, NULL);
}

/* A copy that the suspect should have waited for begins only now. */
static bool comes_after_suspect(trcpu_warp *warp, const trcpu_insn *insn, uint32_t at, uint32_t bytes) {
    trcpu_shadow *shadow = warp->shadow;
    trcpu_suspect s = shadow->suspect;
    char place[300];
    if (!s.insn || s.at - at >= bytes || !(shadow->checks & TRCPU_CHECK_MISSING_WAIT)) return false;
    shadow->suspect.insn = NULL;
    where(place, sizeof place, warp->launch->function, (uint32_t)(insn - warp->launch->function->code));
    trcpu_fault_address(warp, s.at);
    trcpu_fault_report(
        &warp->cta->warps[s.warp], s.insn, s.lane, 719, "missing-wait",
        "read of shared memory at 0x%x before the copy that fills it, which warp %u starts%s: a wait "
        "for it comes first",
        s.at, warp->index, place);
    warp->state = TRCPU_WARP_FAULTED;
    return true;
}

static trcpu_view view(const trcpu_warp *warp, const trcpu_insn *insn) {
    return trcpu_view_of(warp->shadow, warp->index, (uint32_t)(insn - warp->launch->function->code));
}

enum { STRETCH = 32 }; /* words decided together */

bool trcpu_shadow_read_range(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at,
                             uint32_t bytes) {
    trcpu_view v = view(warp, insn);
    for (uint32_t step; bytes; at += step, bytes -= step) {
        step = bytes < 4 * STRETCH ? bytes : 4 * STRETCH;
        if ((at | step) % 4 || !trcpu_view_access(&v, at / 4, step / 4, false))
            if (!trcpu_shadow_read(warp, insn, lane, at, step)) return false;
    }
    return true;
}

bool trcpu_shadow_write_range(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at,
                              uint32_t bytes) {
    trcpu_view v = view(warp, insn);
    if (comes_after_suspect(warp, insn, at, bytes)) return false;
    for (uint32_t step; bytes; at += step, bytes -= step) {
        step = bytes < 4 * STRETCH ? bytes : 4 * STRETCH;
        if ((at | step) % 4 || !trcpu_view_access(&v, at / 4, step / 4, true))
            if (!trcpu_shadow_write(warp, insn, lane, at, step, NULL)) return false;
    }
    return true;
}

/* Another copy, of any warp, brings the same bytes to the same place. */
static bool is_brought_already(const trcpu_warp *warp, uint32_t at, const char *from) {
    const trcpu_cta *cta = warp->cta;
    for (uint32_t w = 0; w < cta->warp_count; w++)
        for (uint32_t k = 0; k < cta->warps[w].copy_count; k++) {
            const trcpu_copy *copy = &cta->warps[w].copies[k];
            for (uint32_t rest = copy->mask; rest; rest &= rest - 1) {
                uint32_t l = (uint32_t)__builtin_ctz(rest);
                if (at - copy->to[l] < copy->bytes && copy->from[l] + (at - copy->to[l]) == from) return true;
            }
        }
    return false;
}

bool trcpu_shadow_start(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, uint32_t bytes,
                        const char *from) {
    trcpu_view v = view(warp, insn);
    if (comes_after_suspect(warp, insn, at, bytes)) return false;
    for (; bytes; at += 4, bytes -= 4, from += 4) {
        cell c = cell_of(warp->shadow, at, false);
        if (*c.write == TRCPU_SHADOW_PENDING && is_brought_already(warp, at, from)) continue;
        if (!trcpu_view_write4(&v, at / 4) && !trcpu_shadow_write(warp, insn, lane, at, 4, from))
            return false;
        *c.write = TRCPU_SHADOW_PENDING;
    }
    return true;
}

void trcpu_shadow_forgive(trcpu_shadow *shadow, uint32_t at, uint32_t bytes) {
    uint32_t write = shadow->order.base << TRCPU_SHADOW_TIME;
    for (uint32_t end = at + bytes; at < end; at++) {
        if (at % 4 == 0 && end - at >= 4) {
            cell c = cell_of(shadow, at, false);
            *c.write = write;
            *c.read = *c.readers = 0;
            at += 3;
        } else if (refine(shadow, at / 4)) {
            shadow->fine.write[at] = write;
            shadow->fine.read[at] = shadow->fine.readers[at] = 0;
        }
    }
}
