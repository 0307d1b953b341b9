/* The shadow of a CTA's shared memory: who wrote and who read each word, and when, by the clocks of order.h. It finds
   races between warps, reads of what nobody wrote, and data used before its cp.async was waited for.

   A cell is a word. The lanes ask trcpu_view_read and trcpu_view_write, which decide the plain cases for many words at
   once; what they can't decide, trcpu_shadow_read and its like look at exactly. A word whose bytes are accessed apart
   has four cells of its own from then on. */
#ifndef TRCPU_SHADOW_H
#define TRCPU_SHADOW_H

#include "machine/order.h"
#include "machine/program.h"

#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum {
    TRCPU_SHADOW_ATOMIC = 32, /* the write was an atomic operation, those of `readers` others */
    TRCPU_SHADOW_WARP = 31,
    TRCPU_SHADOW_TIME = 6, /* a write is its time above its warp */
};
#define TRCPU_SHADOW_PENDING 0xfffffffeu /* a cp.async fills it */
#define TRCPU_SHADOW_FINE    0xffffffffu /* its bytes have cells of their own */
#define TRCPU_SHADOW_WIDE    0xffffffffu /* of `read`: the readers' times differ, see `times` */

/* A read of what nobody had written yet. Should another warp write it before the two meet, it was a race; else it is
   told when they do, or when the CTA ends. */
typedef struct trcpu_suspect {
    const trcpu_insn *insn; /* NULL: there is none */
    uint32_t warp, lane, at;
} trcpu_suspect;

/* Four words' cells, of the 16 bytes that most accesses take: a cache line, which vectors take as one. */
typedef struct trcpu_chunk {
    uint32_t write[4];   /* the last one; before the CTA's base: none */
    uint32_t read[4];    /* the time of the reads since then */
    uint32_t readers[4]; /* a bit per warp */
    uint32_t source[4];  /* the instruction that wrote */
} trcpu_chunk;

typedef struct trcpu_shadow {
    trcpu_order order;
    trcpu_suspect suspect;
    uint32_t checks, words;
    bool odd; /* some cell is more than numbers: pending, fine or wide */
    trcpu_chunk *chunks;
    uint32_t (*times)[TRCPU_ORDER_WARPS]; /* of each word's readers, where they differ */
    struct {
        uint32_t *write, *read, *readers; /* by byte */
    } fine;
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
    trcpu_chunk *chunks;
    uint32_t low, last; /* writes from low to last are there, and come before */
    uint32_t warp, time, floor, bit, insn;
} trcpu_view;

static inline trcpu_view trcpu_view_of(const trcpu_shadow *shadow, uint32_t warp, uint32_t insn) {
    const trcpu_order *order = &shadow->order;
    return (trcpu_view){.chunks = shadow->chunks,
                        .low = order->base << TRCPU_SHADOW_TIME,
                        .last = order->floor[warp] << TRCPU_SHADOW_TIME | 63,
                        .warp = warp,
                        .time = order->time[warp],
                        .floor = order->floor[warp],
                        .bit = 1u << warp,
                        .insn = insn};
}

/* Of a chunk: a write is fine when it comes before, or is the warp's own in this CTA; reads are when they come before,
   or are of now. */
#ifdef __AVX512F__
/* One value for each of a chunk's parts. */
static inline __m512i trcpu_parts(uint32_t write, uint32_t read, uint32_t readers, uint32_t source) {
    return _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_set_m128i(_mm_set1_epi32((int)read), _mm_set1_epi32((int)write))),
        _mm256_set_m128i(_mm_set1_epi32((int)source), _mm_set1_epi32((int)readers)), 1);
}

/* Notes that the chunk's 16 bytes are read; false: nothing is noted, since it isn't plain that they may be. */
static inline bool trcpu_view_read16(const trcpu_view *v, uint32_t chunk) {
    const __m512i is = _mm512_loadu_si512(&v->chunks[chunk]);
    uint32_t there = _mm512_cmpge_epu32_mask(is, trcpu_parts(v->low, 0, 0, 0));
    uint32_t before = _mm512_cmple_epu32_mask(is, trcpu_parts(v->last, v->floor, ~0u, ~0u));
    uint32_t same = _mm512_cmpeq_epi32_mask(_mm512_and_si512(is, trcpu_parts(63, ~0u, 0, 0)),
                                            trcpu_parts(v->warp, v->time, 0, 0));
    if ((there & (before | same)) != 0xffff) return false;
    __mmask16 kept = (__mmask16)((same & 0xf0) << 4 | 0xf00f); /* readers at this very time stay */
    __m512i next = _mm512_or_si512(_mm512_maskz_mov_epi32(kept, is), trcpu_parts(0, v->time, v->bit, 0));
    _mm512_storeu_si512(&v->chunks[chunk], next);
    return true;
}

static inline bool trcpu_view_may_write16(const trcpu_view *v, uint32_t chunk) {
    const __m512i is = _mm512_loadu_si512(&v->chunks[chunk]);
    uint32_t before = _mm512_cmple_epu32_mask(is, trcpu_parts(v->last, v->floor, ~0u, ~0u));
    uint32_t mine = _mm512_cmpeq_epi32_mask(_mm512_and_si512(is, trcpu_parts(63, 0, ~0u, 0)),
                                            trcpu_parts(v->warp, 1, v->bit, 0));
    return (before | (mine & 0xf) | (mine >> 4 & 0xf0)) == 0xffff;
}
#else
typedef uint32_t trcpu_words4 __attribute__((vector_size(16)));

static inline trcpu_words4 trcpu_words_of(const uint32_t *from) {
    trcpu_words4 words;
    memcpy(&words, from, sizeof words);
    return words;
}

static inline bool trcpu_all_of(trcpu_words4 masks) {
    uint64_t halves[2];
    memcpy(halves, &masks, sizeof halves);
    return (halves[0] & halves[1]) == UINT64_MAX;
}

static inline bool trcpu_view_read16(const trcpu_view *v, uint32_t chunk) {
    trcpu_chunk *c = &v->chunks[chunk];
    trcpu_words4 w = trcpu_words_of(c->write), r = trcpu_words_of(c->read), m = trcpu_words_of(c->readers);
    trcpu_words4 now = (trcpu_words4)(r == v->time);
    trcpu_words4 written =
        (trcpu_words4)(w >= v->low) & ((trcpu_words4)(w <= v->last) | (trcpu_words4)((w & 63) == v->warp));
    if (!trcpu_all_of(written & (now | (trcpu_words4)(r <= v->floor)))) return false;
    m = (m & now) | v->bit;
    r = (r ^ r) + v->time;
    memcpy(c->readers, &m, sizeof m);
    memcpy(c->read, &r, sizeof r);
    return true;
}

static inline bool trcpu_view_may_write16(const trcpu_view *v, uint32_t chunk) {
    const trcpu_chunk *c = &v->chunks[chunk];
    trcpu_words4 w = trcpu_words_of(c->write), r = trcpu_words_of(c->read), m = trcpu_words_of(c->readers);
    return trcpu_all_of(((trcpu_words4)(w <= v->last) | (trcpu_words4)((w & 63) == v->warp)) &
                        ((trcpu_words4)(r <= v->floor) | (trcpu_words4)(m == v->bit)));
}
#endif

static inline void trcpu_view_set16(const trcpu_view *v, uint32_t chunk, uint32_t write) {
    const uint32_t i = v->insn;
    v->chunks[chunk] = (trcpu_chunk){{write, write, write, write}, {0}, {0}, {i, i, i, i}};
}

static inline bool trcpu_view_write16(const trcpu_view *v, uint32_t chunk) {
    if (!trcpu_view_may_write16(v, chunk)) return false;
    trcpu_view_set16(v, chunk, v->time << TRCPU_SHADOW_TIME | v->warp);
    return true;
}

/* The same of one word. */
static inline bool trcpu_view_read4(const trcpu_view *v, uint32_t word) {
    trcpu_chunk *chunk = &v->chunks[word / 4];
    const uint32_t k = word % 4, write = chunk->write[k], read = chunk->read[k];
    if (write < v->low || (write > v->last && (write & 63) != v->warp)) return false;
    if (read == v->time)
        chunk->readers[k] |= v->bit;
    else if (read <= v->floor || chunk->readers[k] == v->bit)
        chunk->readers[k] = v->bit;
    else
        return false;
    chunk->read[k] = v->time;
    return true;
}

static inline bool trcpu_view_write4(const trcpu_view *v, uint32_t word) {
    trcpu_chunk *chunk = &v->chunks[word / 4];
    const uint32_t k = word % 4, write = chunk->write[k];
    if ((write > v->last && (write & 63) != v->warp) ||
        (chunk->read[k] > v->floor && chunk->readers[k] != v->bit))
        return false;
    chunk->write[k] = v->time << TRCPU_SHADOW_TIME | v->warp;
    chunk->read[k] = chunk->readers[k] = 0;
    chunk->source[k] = v->insn;
    return true;
}

/* Words of any number. */
static inline bool trcpu_view_access(const trcpu_view *v, uint32_t word, uint32_t count, bool write) {
    for (; count; word++, count--) {
        bool ok;
        if (word % 4 == 0 && count >= 4) {
            ok = write ? trcpu_view_write16(v, word / 4) : trcpu_view_read16(v, word / 4);
            word += 3;
            count -= 3;
        } else {
            ok = write ? trcpu_view_write4(v, word) : trcpu_view_read4(v, word);
        }
        if (!ok) return false;
    }
    return true;
}

/* A cp.async of this warp has landed. */
static inline void trcpu_view_land(const trcpu_view *v, uint32_t word, uint32_t count) {
    const uint32_t write = v->time << TRCPU_SHADOW_TIME | v->warp;
    if (count == 4 && word % 4 == 0) {
        const uint32_t all[4] = {write, write, write, write};
        memcpy(v->chunks[word / 4].write, all, sizeof all);
        return;
    }
    for (; count; word++, count--) v->chunks[word / 4].write[word % 4] = write;
}

#endif
