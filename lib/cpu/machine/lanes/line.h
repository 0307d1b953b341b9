/* Lines of shared memory, 64 bytes, and their cells in the shadow: where the lanes of a warp take 16 bytes each, four of them
   mostly fill a line, in order or swizzled. Then its cells are decided and noted together. */
#ifndef TRCPU_LINE_H
#define TRCPU_LINE_H

#include "machine/lanes/lanes.h"
#include "machine/lanes/quad.h"

/* Does every fourth lane begin a line, which the next three fill, the k-th at its place xor k? */
TRCPU_INLINE bool are_lines(const uint32_t at[32]) {
    uint32_t first[32], apart;
    first_of_four(first, at);
    SET_LANES(apart, at[l] != (first[l] ^ 16 * (l % 4)));
    return !apart;
}

#ifdef __AVX512F__
/* 64 bytes to such a line, whose first lane is at `at`. */
TRCPU_INLINE void fill_line(char *shared, uint32_t at, const char *from) {
    const quad order = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    const quad places = _mm512_xor_si512(order, _mm512_set1_epi64(at / 8 % 8));
    _mm512_storeu_si512(shared + (at & ~63u), _mm512_permutexvar_epi64(places, _mm512_loadu_si512(from)));
}

typedef quad line; /* of cells */

enum { WRITE = 0x1111, READ = 0x2222, SOURCE = 0x8888, ALL_WORDS = 0xffff }; /* of its cells */

/* The same word in each cell. */
TRCPU_INLINE line set_word(line cells, uint32_t word, uint32_t value) {
    return _mm512_mask_set1_epi32(cells, (__mmask16)word, (int)value);
}

/* The cells of the line that `at` lies in. */
TRCPU_INLINE trcpu_cell *line_at(const trcpu_view *v, uint32_t at) {
    return (trcpu_cell *)(void *)((char *)v->chunks + (at & ~63u));
}

/* Eight lines, four lanes each: a bit for each lane whose cell wants a closer look. One by one: a line may come twice. */
TRCPU_INLINE uint32_t write_lines(const trcpu_view *v, const uint32_t at[8], uint32_t write) {
    const line most = set_word(set_word(_mm512_set1_epi32(-1), WRITE, v->last), READ, v->floor);
    const line written = set_word(set_word(_mm512_setzero_si512(), WRITE, write), SOURCE, v->insn);
    uint32_t left = 0;
    for (uint32_t i = 0; i < 8; i++) {
        trcpu_cell *cells = line_at(v, at[i]);
        if (_mm512_cmple_epu32_mask(_mm512_loadu_si512(cells), most) == ALL_WORDS)
            _mm512_storeu_si512(cells, written);
        else
            left |= 15u << 4 * i;
    }
    return left;
}

TRCPU_INLINE uint32_t land_lines(const trcpu_view *v, const uint32_t at[8]) {
    const line pending = _mm512_set1_epi32((int)TRCPU_SHADOW_PENDING);
    const line now = _mm512_set1_epi32((int)trcpu_view_now(v));
    uint32_t left = 0;
    for (uint32_t i = 0; i < 8; i++) {
        trcpu_cell *cells = line_at(v, at[i]);
        if (_mm512_mask_cmpeq_epi32_mask(WRITE, _mm512_loadu_si512(cells), pending) == WRITE)
            _mm512_mask_storeu_epi32(cells, WRITE, now);
        else
            left |= 15u << 4 * i;
    }
    return left;
}

TRCPU_INLINE quad gather_quad(const char *base, const uint32_t at[4]) {
    return join_quad(base + at[0], base + at[1], base + at[2], base + at[3]);
}

/* Chunks apart, four at a time: as trcpu_view_read_chunks where none of them was read at this time, or each. */
TRCPU_INLINE uint32_t read_chunks(const trcpu_view *v, const uint32_t *at, uint32_t count) {
    char *const chunks = (char *)v->chunks;
    const line least = set_word(_mm512_setzero_si512(), WRITE, v->low);
    const line most = set_word(set_word(_mm512_set1_epi32(-1), WRITE, v->last - v->low), READ, v->floor);
    const line now = _mm512_set1_epi32((int)v->time);
    const uint64_t first = (uint64_t)v->bit << 32 | v->time; /* reader of a time */
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i += 4) {
        const line found = gather_quad(chunks, at + i);
        const __mmask16 before = _mm512_cmple_epu32_mask(_mm512_sub_epi32(found, least), most);
        const __mmask16 again = _mm512_mask_cmpeq_epi32_mask(READ, found, now);
        if ((before | again) != ALL_WORDS || (again && again != READ))
            left |= 15u << i;
        else
            for (uint32_t k = i; k < i + 4; k++) {
                trcpu_cell *cell = (trcpu_cell *)(void *)(chunks + at[k]);
                if (again)
                    cell->readers |= v->bit;
                else
                    memcpy(&cell->read, &first, sizeof first);
            }
    }
    return left;
}

/* The same of chunks written now. */
TRCPU_INLINE uint32_t write_chunks(const trcpu_view *v, const uint32_t *at, uint32_t count) {
    char *const chunks = (char *)v->chunks;
    const line most = set_word(set_word(_mm512_set1_epi32(-1), WRITE, v->last), READ, v->floor);
    const trcpu_cell written = {.write = trcpu_view_now(v), .source = v->insn};
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i += 4)
        if (_mm512_cmple_epu32_mask(gather_quad(chunks, at + i), most) == ALL_WORDS)
            for (uint32_t k = i; k < i + 4; k++) memcpy(chunks + at[k], &written, sizeof written);
        else
            left |= 15u << i;
    return left;
}
#else
TRCPU_INLINE void fill_line(char *shared, uint32_t at, const char *from) {
    for (uint32_t k = 0; k < 4; k++) memcpy(shared + (at ^ 16 * k), from + 16 * k, 16);
}

TRCPU_INLINE void chunks_of_lines(uint32_t chunks[32], const uint32_t at[8]) {
    for (uint32_t l = 0; l < 32; l++) chunks[l] = at[l / 4] ^ 16 * (l % 4);
}

TRCPU_INLINE uint32_t write_lines(const trcpu_view *v, const uint32_t at[8], uint32_t write) {
    uint32_t chunks[32];
    chunks_of_lines(chunks, at);
    return trcpu_view_write_chunks(v, chunks, ~0u, write);
}

TRCPU_INLINE uint32_t land_lines(const trcpu_view *v, const uint32_t at[8]) {
    uint32_t chunks[32];
    chunks_of_lines(chunks, at);
    return trcpu_view_land_chunks(v, chunks, ~0u);
}

TRCPU_INLINE uint32_t read_chunks(const trcpu_view *v, const uint32_t *at, uint32_t count) {
    return trcpu_view_read_chunks(v, at, count);
}

TRCPU_INLINE uint32_t write_chunks(const trcpu_view *v, const uint32_t *at, uint32_t count) {
    return trcpu_view_write_chunks(v, at, ~0u >> (32 - count), trcpu_view_now(v));
}
#endif

#endif
