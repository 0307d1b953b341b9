/* The shadow of a CTA's shared memory: who wrote and who read what, and when, by the clocks of order.h. It finds races
   between warps, reads of what nobody wrote, and data used before its cp.async was waited for.

   A cell stands for 16 bytes, as most accesses take, of one lane or of lanes side by side; four cells are a cache line.
   What is accessed in words gets a cell a word from then on, words accessed in bytes a cell a byte. The lanes ask
   trcpu_view_read16 and its like, which decide the plain cases; what they can't decide, trcpu_shadow_read and its like look
   at exactly. */
#ifndef TRCPU_SHADOW_H
#define TRCPU_SHADOW_H

#include "machine/order.h"
#include "machine/program.h"

#include <string.h>

enum {
    TRCPU_SHADOW_ATOMIC = 32, /* the write was an atomic operation, those of `readers` others */
    TRCPU_SHADOW_WARP = 31,
    TRCPU_SHADOW_TIME = 6, /* a write is its time above its warp */
};
#define TRCPU_SHADOW_PENDING 0xfffffffeu /* a cp.async fills it */
#define TRCPU_SHADOW_FINE    0xffffffffu /* its words, or bytes, have cells of their own */
#define TRCPU_SHADOW_WIDE    0xffffffffu /* of `read`: the readers' times differ, see `times` */

/* A read of what nobody had written yet. Should another warp write it before the two meet, it was a race; else it is
   told when they do, or when the CTA ends. */
typedef struct trcpu_suspect {
    const trcpu_insn *insn; /* NULL: there is none */
    uint32_t warp, lane, at;
} trcpu_suspect;

typedef struct trcpu_cell { /* as large as what a chunk's stands for, so that one offset serves both */
    uint32_t write;         /* the last one; before the CTA's base: none */
    uint32_t read;          /* the time of the reads since then */
    uint32_t readers;       /* a bit per warp */
    uint32_t source;        /* the instruction that wrote */
} trcpu_cell;

typedef struct trcpu_shadow {
    trcpu_order order;
    trcpu_suspect suspect;
    uint32_t checks, count;               /* of chunks */
    bool odd;                             /* some chunk's cell is more than numbers: pending or fine */
    trcpu_cell *chunks, *words, *bytes;   /* by 16 bytes, by 4, by 1: the latter two when there are any */
    uint32_t (*times)[TRCPU_ORDER_WARPS]; /* of each word's readers, where they differ */
} trcpu_shadow;

trcpu_shadow *trcpu_shadow_create(uint32_t shared_bytes, uint32_t checks);
void trcpu_shadow_destroy(trcpu_shadow *shadow);
/* A CTA begins: all is uninitialised. `unlanded`: the one before left copies under way. */
void trcpu_shadow_begin(trcpu_shadow *shadow, uint32_t warps, bool unlanded);

/* Exact; false: a fault is reported. `value`: what will be written, NULL when that isn't known; who writes what is
   there already races with no one. */
bool trcpu_shadow_read(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, uint32_t bytes);
bool trcpu_shadow_write(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, uint32_t bytes,
                        const void *value);
bool trcpu_shadow_atomic(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at,
                         uint32_t bytes);
/* Reports the suspect, if there is one. */
bool trcpu_shadow_settle(trcpu_shadow *shadow, trcpu_warp *warps);
/* The same for a bulk copy's bytes. */
bool trcpu_shadow_read_range(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at,
                             uint32_t bytes);
bool trcpu_shadow_write_range(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at,
                              uint32_t bytes);
/* A cp.async of `bytes` begins at `from`, and has landed. */
bool trcpu_shadow_start(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t at, uint32_t bytes,
                        const char *from);
/* Written by somebody whose order isn't known (another CTA of the cluster): initialised, and free of races. */
void trcpu_shadow_forgive(trcpu_shadow *shadow, uint32_t at, uint32_t bytes);

/* ---- the plain cases ---- */
typedef struct trcpu_view { /* of the shadow, by one warp at one instruction */
    trcpu_cell *chunks;
    uint32_t low, last; /* writes from low to last are there, and come before */
    uint32_t warp, time, floor, bit, insn;
    trcpu_shadow *shadow;
} trcpu_view;

static inline trcpu_view trcpu_view_of(trcpu_shadow *shadow, uint32_t warp, uint32_t insn) {
    const trcpu_order *order = &shadow->order;
    return (trcpu_view){.chunks = shadow->chunks,
                        .low = order->base << TRCPU_SHADOW_TIME,
                        .last = order->floor[warp] << TRCPU_SHADOW_TIME | 63,
                        .warp = warp,
                        .time = order->time[warp],
                        .floor = order->floor[warp],
                        .bit = 1u << warp,
                        .insn = insn,
                        .shadow = shadow};
}

static inline uint32_t trcpu_view_now(const trcpu_view *v) {
    return v->time << TRCPU_SHADOW_TIME | v->warp;
}

/* A write is fine when it comes before, or is the warp's own in this CTA; reads are when they come before, or are of now.
   False: nothing is noted, since it isn't plain that the cell may be read, or written. */
static inline bool trcpu_view_read(const trcpu_view *v, trcpu_cell *cell) {
    const uint32_t write = cell->write, read = cell->read;
    if (write < v->low || (write > v->last && (write & 63) != v->warp)) return false;
    if (read == v->time) {
        cell->readers |= v->bit;
        return true;
    }
    if (read > v->floor && cell->readers != v->bit) return false;
    cell->read = v->time;
    cell->readers = v->bit;
    return true;
}

static inline bool trcpu_view_may_write(const trcpu_view *v, const trcpu_cell *cell) {
    return (cell->write <= v->last || (cell->write & 63) == v->warp) &&
           (cell->read <= v->floor || cell->readers == v->bit);
}

static inline bool trcpu_view_write(const trcpu_view *v, trcpu_cell *cell, uint32_t write) {
    if (!trcpu_view_may_write(v, cell)) return false;
    *cell = (trcpu_cell){.write = write, .source = v->insn};
    return true;
}

/* Of a chunk whose words have cells of their own. */
bool trcpu_view_read_words(const trcpu_view *v, uint32_t chunk);
bool trcpu_view_write_words(const trcpu_view *v, uint32_t chunk, uint32_t write);
/* Of a single word. */
bool trcpu_view_read4(const trcpu_view *v, uint32_t word);
bool trcpu_view_write4(const trcpu_view *v, uint32_t word);

static inline bool trcpu_view_read16(const trcpu_view *v, uint32_t chunk) {
    return trcpu_view_read(v, &v->chunks[chunk]) ||
           (v->chunks[chunk].write == TRCPU_SHADOW_FINE && trcpu_view_read_words(v, chunk));
}

/* `write`: what the cell gets: trcpu_view_now, or that it is pending. */
static inline bool trcpu_view_write16(const trcpu_view *v, uint32_t chunk, uint32_t write) {
    return trcpu_view_write(v, &v->chunks[chunk], write) ||
           (v->chunks[chunk].write == TRCPU_SHADOW_FINE && trcpu_view_write_words(v, chunk, write));
}

/* Of chunks apart, by their offsets in bytes, all that can be decided without a call; a bit for each that can't. */
static inline uint32_t trcpu_view_read_chunks(const trcpu_view *v, const uint32_t *at, uint32_t count) {
    char *const chunks = (char *)v->chunks;
    const uint32_t low = v->low, span = v->last - v->low, time = v->time, floor = v->floor;
    const uint64_t bit = (uint64_t)v->bit << 32;
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        trcpu_cell *cell = (trcpu_cell *)(void *)(chunks + at[i]);
        uint64_t readers; /* above the time of their reads */
        memcpy(&readers, &cell->read, sizeof readers);
        const uint32_t read = (uint32_t)readers;
        if (cell->write - low > span || (read > floor && read != time)) {
            left |= 1u << i;
            continue;
        }
        readers = (read == time ? readers : time) | bit;
        memcpy(&cell->read, &readers, sizeof readers);
    }
    return left;
}

static inline uint32_t trcpu_view_write_chunks(const trcpu_view *v, const uint32_t *at, uint32_t mask,
                                               uint32_t write) {
    char *const chunks = (char *)v->chunks;
    const uint32_t last = v->last, floor = v->floor, warp = v->warp, bit = v->bit, insn = v->insn;
    uint32_t left = 0;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(rest);
        trcpu_cell *cell = (trcpu_cell *)(void *)(chunks + (at[i] & ~15u));
        if ((cell->write > last && (cell->write & 63) != warp) ||
            (cell->read > floor && cell->readers != bit))
            left |= 1u << i;
        else
            *cell = (trcpu_cell){.write = write, .source = insn};
    }
    return left;
}

/* Words of any number. */
static inline bool trcpu_view_access(const trcpu_view *v, uint32_t word, uint32_t count, bool write) {
    const uint32_t now = trcpu_view_now(v);
    for (uint32_t end = word + count; word < end;) {
        if (word % 4 == 0 && end - word >= 4) {
            if (!(write ? trcpu_view_write16(v, word / 4, now) : trcpu_view_read16(v, word / 4)))
                return false;
            word += 4;
        } else {
            if (!(write ? trcpu_view_write4(v, word) : trcpu_view_read4(v, word))) return false;
            word++;
        }
    }
    return true;
}

/* A copy into these words has landed, and the warp knows. */
void trcpu_view_land(const trcpu_view *v, uint32_t word, uint32_t count);

static inline uint32_t trcpu_view_land_chunks(const trcpu_view *v, const uint32_t *at, uint32_t mask) {
    char *const chunks = (char *)v->chunks;
    const uint32_t now = trcpu_view_now(v);
    uint32_t left = 0;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(rest);
        trcpu_cell *cell = (trcpu_cell *)(void *)(chunks + (at[i] & ~15u));
        if (cell->write == TRCPU_SHADOW_PENDING)
            cell->write = now;
        else
            left |= 1u << i;
    }
    return left;
}

#endif
