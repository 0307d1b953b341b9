#include "machine/shadow.h"

#include "machine/checks.h"
#include "machine/warp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

trcpu_shadow *trcpu_shadow_create(uint32_t shared_bytes, uint32_t checks) {
    trcpu_shadow *shadow = calloc(1, sizeof *shadow);
    const uint32_t count =
        (shared_bytes + 63) / 64 * 4; /* a cache line's cells are those of a line of memory */
    if (shadow) shadow->chunks = aligned_alloc(64, count * sizeof *shadow->chunks);
    if (!shadow || !shadow->chunks) {
        free(shadow);
        return NULL;
    }
    memset(shadow->chunks, 0, count * sizeof *shadow->chunks);
    shadow->checks = checks;
    shadow->count = count;
    return shadow;
}

void trcpu_shadow_destroy(trcpu_shadow *shadow) {
    if (!shadow) return;
    trcpu_order_release(&shadow->order);
    free(shadow->chunks);
    free(shadow->words);
    free(shadow->bytes);
    free(shadow->times);
    free(shadow);
}

/* Cells of CTAs before are older than the new one's base; once in a long while time begins anew. */
void trcpu_shadow_begin(trcpu_shadow *shadow, uint32_t warps, bool unlanded) {
    if (shadow->order.now > TRCPU_ORDER_END / 2) {
        shadow->order.now = 0;
        memset(shadow->chunks, 0, shadow->count * sizeof *shadow->chunks);
    }
    trcpu_order_begin(&shadow->order, warps);
    shadow->suspect.insn = NULL;
    bool odd = shadow->odd || unlanded;
    shadow->odd = false;
    for (uint32_t i = 0; odd && i < shadow->count; i++) /* none is to be taken for one of this CTA */
        if (shadow->chunks[i].write >= TRCPU_SHADOW_PENDING) shadow->chunks[i] = (trcpu_cell){0};
}

typedef enum problem { NONE, UNSET, PENDING, WRITTEN, READ } problem;

typedef struct finding {
    problem what;
    uint32_t other; /* warp */
} finding;

/* ---- finer cells ---- */
static bool make_times(trcpu_shadow *shadow) {
    if (!shadow->times) shadow->times = calloc(4 * (size_t)shadow->count, sizeof *shadow->times);
    return shadow->times != NULL;
}

/* The chunk's words get cells of their own, that are as it was. False: no memory, it stays as it is. */
static bool split(trcpu_shadow *shadow, uint32_t chunk) {
    trcpu_cell *cell = &shadow->chunks[chunk];
    if (cell->write == TRCPU_SHADOW_FINE) return true;
    if (!shadow->words) shadow->words = malloc(4 * (size_t)shadow->count * sizeof *shadow->words);
    if (!shadow->words) return false;
    for (uint32_t k = 0; k < 4; k++) shadow->words[4 * chunk + k] = *cell;
    shadow->odd = true;
    cell->write = TRCPU_SHADOW_FINE;
    return true;
}

/* The same of a word of a chunk that is split, and its bytes. */
static bool refine(trcpu_shadow *shadow, uint32_t word) {
    trcpu_cell *cell = &shadow->words[word];
    if (cell->write == TRCPU_SHADOW_FINE) return true;
    if (!shadow->bytes) shadow->bytes = malloc(16 * (size_t)shadow->count * sizeof *shadow->bytes);
    if (!shadow->bytes) return false;
    if (cell->read == TRCPU_SHADOW_WIDE) /* who read when is given up: no false alarm comes of it */
        cell->read = cell->readers = 0;
    for (uint32_t k = 0; k < 4; k++) shadow->bytes[4 * word + k] = *cell;
    cell->write = TRCPU_SHADOW_FINE;
    cell->read = cell->readers = 0;
    return true;
}

/* ---- the plain cases that lanes/ don't decide themselves ---- */
bool trcpu_view_read_words(const trcpu_view *v, uint32_t chunk) {
    bool all = true;
    for (uint32_t k = 0; k < 4; k++) all &= trcpu_view_read(v, &v->shadow->words[4 * chunk + k]);
    return all;
}

/* All four written at once are one again. */
bool trcpu_view_write_words(const trcpu_view *v, uint32_t chunk, uint32_t write) {
    for (uint32_t k = 0; k < 4; k++)
        if (!trcpu_view_may_write(v, &v->shadow->words[4 * chunk + k])) return false;
    v->chunks[chunk] = (trcpu_cell){.write = write, .source = v->insn};
    return true;
}

bool trcpu_view_read4(const trcpu_view *v, uint32_t word) {
    const trcpu_cell *chunk = &v->chunks[word / 4];
    if (chunk->write != TRCPU_SHADOW_FINE && chunk->read == v->time && chunk->readers & v->bit)
        return true; /* noted already */
    return split(v->shadow, word / 4) && trcpu_view_read(v, &v->shadow->words[word]);
}

bool trcpu_view_write4(const trcpu_view *v, uint32_t word) {
    return split(v->shadow, word / 4) && trcpu_view_write(v, &v->shadow->words[word], trcpu_view_now(v));
}

void trcpu_view_land(const trcpu_view *v, uint32_t word, uint32_t count) {
    const uint32_t now = trcpu_view_now(v);
    for (; count; word++, count--) {
        trcpu_cell *chunk = &v->chunks[word / 4];
        *(chunk->write == TRCPU_SHADOW_FINE ? &v->shadow->words[word].write : &chunk->write) = now;
    }
}

/* ---- what a cell says ---- */
/* Of a word's cell: when each warp read it. Bytes' cells have none. */
static uint32_t *times_of(const trcpu_shadow *shadow, const trcpu_cell *c) {
    return shadow->times[c - shadow->words];
}

/* A reader (or another atomic) that isn't known to come before; -1: there is none. */
static int unordered_reader(const trcpu_shadow *shadow, const trcpu_cell *c, uint32_t warp) {
    const trcpu_order *order = &shadow->order;
    if (c->read == TRCPU_SHADOW_WIDE) {
        for (uint32_t v = 0; v < order->warps; v++)
            if (!trcpu_order_before(order, v, times_of(shadow, c)[v], warp)) return (int)v;
        return -1;
    }
    for (uint32_t rest = c->readers; rest; rest &= rest - 1) {
        uint32_t v = (uint32_t)__builtin_ctz(rest);
        if (!trcpu_order_before(order, v, c->read, warp)) return (int)v;
    }
    return -1;
}

static void note_read(trcpu_shadow *shadow, trcpu_cell *c, uint32_t at, uint32_t warp) {
    const trcpu_order *order = &shadow->order;
    const uint32_t time = order->time[warp];
    if (c->read == TRCPU_SHADOW_WIDE) {
        times_of(shadow, c)[warp] = time;
    } else if (c->read == time) {
        c->readers |= 1u << warp;
    } else if (unordered_reader(shadow, c, warp) < 0) {
        c->read = time;
        c->readers = 1u << warp;
    } else if (c == &shadow->words[at / 4] && make_times(shadow)) {
        uint32_t *times = times_of(shadow, c);
        for (uint32_t v = 0; v < order->warps; v++) times[v] = c->readers >> v & 1 ? c->read : 0;
        times[warp] = time;
        c->read = TRCPU_SHADOW_WIDE;
        c->readers = 0;
    } else { /* the earlier time stands for both: a race may be missed, none is made up */
        c->readers |= 1u << warp;
        if (time < c->read) c->read = time;
    }
}

/* The last write, when it doesn't come before. */
static finding last_write(const trcpu_shadow *shadow, trcpu_cell *c, uint32_t warp, bool atomic) {
    const trcpu_order *order = &shadow->order;
    const uint32_t write = c->write, writer = write & TRCPU_SHADOW_WARP;
    if (write == TRCPU_SHADOW_PENDING) return (finding){PENDING, 0};
    if (write < order->base << TRCPU_SHADOW_TIME) return (finding){UNSET, 0};
    if (write & TRCPU_SHADOW_ATOMIC) {
        int other = atomic ? -1 : unordered_reader(shadow, c, warp);
        return (finding){other < 0 ? NONE : WRITTEN, (uint32_t)other};
    }
    bool before = trcpu_order_before(order, writer, write >> TRCPU_SHADOW_TIME, warp);
    return (finding){before ? NONE : WRITTEN, writer};
}

static finding read_cell(trcpu_shadow *shadow, trcpu_cell *c, uint32_t at, uint32_t warp) {
    finding found = last_write(shadow, c, warp, false);
    if (found.what == PENDING) return found;
    if (found.what == NONE &&
        c->write & TRCPU_SHADOW_ATOMIC) { /* the atomics are over, what reads is a reader */
        c->write &= ~(uint32_t)TRCPU_SHADOW_ATOMIC;
        c->read = c->readers = 0;
    }
    note_read(shadow, c, at, warp);
    return found;
}

static finding write_cell(trcpu_shadow *shadow, trcpu_cell *c, uint32_t warp) {
    finding found = last_write(shadow, c, warp, false);
    if (found.what == PENDING) return found;
    if (found.what == UNSET) found.what = NONE;
    int reader = found.what == NONE ? unordered_reader(shadow, c, warp) : -1;
    if (reader >= 0) found = (finding){READ, (uint32_t)reader};
    c->write = shadow->order.time[warp] << TRCPU_SHADOW_TIME | warp;
    c->read = c->readers = 0;
    return found;
}

static finding atomic_cell(trcpu_shadow *shadow, trcpu_cell *c, uint32_t at, uint32_t warp) {
    bool among_atomics = c->write < TRCPU_SHADOW_PENDING && c->write & TRCPU_SHADOW_ATOMIC;
    finding found = last_write(shadow, c, warp, true);
    if (found.what == PENDING) return found;
    int reader = found.what == NONE && !among_atomics ? unordered_reader(shadow, c, warp) : -1;
    if (reader >= 0) found = (finding){READ, (uint32_t)reader};
    if (!among_atomics || found.what == UNSET) c->read = c->readers = 0;
    c->write = shadow->order.time[warp] << TRCPU_SHADOW_TIME | TRCPU_SHADOW_ATOMIC | warp;
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
    where(place, sizeof place, warp->launch->function, shadow->words[at / 4].source);
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

static finding look(trcpu_shadow *shadow, trcpu_cell *c, uint32_t at, uint32_t warp, access how) {
    return how == READS    ? read_cell(shadow, c, at, warp)
           : how == WRITES ? write_cell(shadow, c, warp)
                           : atomic_cell(shadow, c, at, warp);
}

/* The part of an access within one word; *bad: the byte of the finding. */
static finding look_at_word(trcpu_warp *warp, uint32_t at, uint32_t bytes, access how, uint32_t *bad) {
    trcpu_shadow *shadow = warp->shadow;
    finding worst = {NONE, 0};
    *bad = at;
    if (!split(shadow, at / 16)) return worst;
    trcpu_cell *c = &shadow->words[at / 4];
    if (bytes == 4 && c->write != TRCPU_SHADOW_FINE) return look(shadow, c, at, warp->index, how);
    if (c->write == TRCPU_SHADOW_PENDING) return (finding){PENDING, 0};
    if (!refine(shadow, at / 4)) return worst;
    for (uint32_t byte = at; byte < at + bytes; byte++) {
        finding found = look(shadow, &shadow->bytes[byte], byte, warp->index, how);
        if (found.what != NONE && worst.what == NONE) {
            worst = found;
            *bad = byte;
        }
    }
    if (bytes == 4 && how == WRITES && worst.what == NONE) { /* one again */
        c->write = shadow->bytes[at].write;
        c->read = c->readers = 0;
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
        if (how != READS && found.what != PENDING && shadow->words)
            shadow->words[at / 4].source = (uint32_t)(insn - warp->launch->function->code);
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

const char trcpu_zeros[64];

static bool is_zero(const char *from) {
    return from >= trcpu_zeros && from < trcpu_zeros + sizeof trcpu_zeros;
}

/* Another copy, of any warp, brings the same bytes to the same place. */
static bool is_brought_already(const trcpu_warp *warp, uint32_t at, const char *from) {
    const trcpu_cta *cta = warp->cta;
    for (uint32_t w = 0; w < cta->warp_count; w++)
        for (uint32_t k = 0; k < cta->warps[w].copy_count; k++) {
            const trcpu_copy *copy = trcpu_warp_copy(&cta->warps[w], k);
            for (uint32_t rest = copy->mask; rest; rest &= rest - 1) {
                uint32_t l = (uint32_t)__builtin_ctz(rest);
                const uint32_t inside = at - trcpu_copy_to(copy, l);
                const char *source = trcpu_copy_from(copy, l);
                if (inside < copy->bytes && (source + inside == from || (is_zero(source) && is_zero(from))))
                    return true;
            }
        }
    return false;
}

bool trcpu_shadow_start(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, uint32_t bytes,
                        const char *from) {
    trcpu_view v = view(warp, insn);
    if (comes_after_suspect(warp, insn, at, bytes)) return false;
    if (bytes == 16 && trcpu_view_write16(&v, at / 16, TRCPU_SHADOW_PENDING)) return true;
    for (; bytes; at += 4, bytes -= 4, from += 4) {
        if (!split(warp->shadow, at / 16)) continue;
        trcpu_cell *c = &warp->shadow->words[at / 4];
        if (c->write == TRCPU_SHADOW_PENDING && is_brought_already(warp, at, from)) continue;
        if (!trcpu_view_write4(&v, at / 4) && !trcpu_shadow_write(warp, insn, lane, at, 4, from))
            return false;
        c->write = TRCPU_SHADOW_PENDING;
    }
    return true;
}

void trcpu_shadow_forgive(trcpu_shadow *shadow, uint32_t at, uint32_t bytes) {
    const trcpu_cell forgiven = {.write = shadow->order.base << TRCPU_SHADOW_TIME};
    for (uint32_t end = at + bytes, step; at < end; at += step) {
        step = at % 16 == 0 && end - at >= 16 ? 16 : at % 4 == 0 && end - at >= 4 ? 4 : 1;
        if (step == 16)
            shadow->chunks[at / 16] = forgiven;
        else if (split(shadow, at / 16) && step == 4)
            shadow->words[at / 4] = forgiven;
        else if (shadow->words && refine(shadow, at / 4))
            shadow->bytes[at] = forgiven;
    }
}
