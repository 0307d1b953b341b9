/* Lines of shared memory, 64 bytes, and their cells in the shadow: where the lanes of a warp take 16 bytes each, four of them
   mostly fill a line, if not in order (a swizzle). Then its cells are decided and noted together. What isn't plain for all
   four is left as it was, for a closer look. */
#ifndef TRCPU_LINE_H
#define TRCPU_LINE_H

#include "machine/lanes/quad.h"
#include "machine/shadow.h"

#ifdef __AVX512F__
typedef quad line; /* of cells */

enum {
    WRITE = 0x1111,
    READ = 0x2222,
    READERS = 0x4444,
    SOURCE = 0x8888,
    ALL_WORDS = 0xffff
}; /* of its cells */

/* The same word in each cell. */
TRCPU_INLINE line set_word(line cells, uint32_t word, uint32_t value) {
    return _mm512_mask_set1_epi32(cells, (__mmask16)word, (int)value);
}

/* Is each four lanes' every chunk of one line? */
TRCPU_INLINE bool are_lines(const uint32_t at[32]) {
    const __m512i inside = _mm512_set1_epi32(63), one = _mm512_set1_epi32(1);
    uint32_t all = ~0u;
    for (uint32_t l = 0; l < 32; l += 16) {
        const __m512i a = _mm512_loadu_si512(at + l), first = _mm512_shuffle_epi32(a, _MM_PERM_AAAA);
        __m512i chunks = _mm512_sllv_epi32(one, _mm512_srli_epi32(_mm512_and_si512(a, inside), 4));
        chunks = _mm512_or_si512(chunks, _mm512_shuffle_epi32(chunks, _MM_PERM_CDAB));
        chunks = _mm512_or_si512(chunks, _mm512_shuffle_epi32(chunks, _MM_PERM_BADC));
        all &= _mm512_cmple_epu32_mask(_mm512_xor_si512(a, first), inside) &
               _mm512_cmpeq_epi32_mask(chunks, _mm512_set1_epi32(15));
    }
    return all == ALL_WORDS;
}

/* The cells that the four lanes from `at` on fill. */
TRCPU_INLINE trcpu_cell *line_at(const trcpu_view *v, const uint32_t *at) {
    return (trcpu_cell *)(void *)((char *)v->chunks + (*at & ~63u));
}

/* A bit for each lane whose cell wants a closer look; as trcpu_view_write_chunks. */
TRCPU_INLINE uint32_t write_lines(const trcpu_view *v, const uint32_t at[32], uint32_t write) {
    const line most = set_word(set_word(_mm512_set1_epi32(-1), WRITE, v->last), READ, v->floor);
    const line written = set_word(set_word(_mm512_setzero_si512(), WRITE, write), SOURCE, v->insn);
    uint32_t left = 0;
    for (uint32_t l = 0; l < 32; l += 4) {
        trcpu_cell *cells = line_at(v, at + l);
        if (_mm512_cmple_epu32_mask(_mm512_loadu_si512(cells), most) == ALL_WORDS)
            _mm512_storeu_si512(cells, written);
        else
            left |= 15u << l;
    }
    return left;
}

TRCPU_INLINE uint32_t land_lines(const trcpu_view *v, const uint32_t at[32]) {
    const line pending = _mm512_set1_epi32((int)TRCPU_SHADOW_PENDING);
    const line now = _mm512_set1_epi32((int)trcpu_view_now(v));
    uint32_t left = 0;
    for (uint32_t l = 0; l < 32; l += 4) {
        trcpu_cell *cells = line_at(v, at + l);
        const line found = _mm512_loadu_si512(cells);
        if (_mm512_mask_cmpeq_epi32_mask(WRITE, found, pending) == WRITE)
            _mm512_storeu_si512(cells, _mm512_mask_mov_epi32(found, WRITE, now));
        else
            left |= 15u << l;
    }
    return left;
}

TRCPU_INLINE quad gather_quad(const char *base, const uint32_t at[4]) {
    return join_quad(base + at[0], base + at[1], base + at[2], base + at[3]);
}

/* Chunks that lie apart, four at a time: as trcpu_view_read_chunks where none of them was read at this time, or each. */
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

/* Written now. */
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
TRCPU_INLINE bool are_lines(const uint32_t at[32]) {
    (void)at;
    return false;
}

TRCPU_INLINE uint32_t write_lines(const trcpu_view *v, const uint32_t at[32], uint32_t write) {
    return trcpu_view_write_chunks(v, at, ~0u, write);
}

TRCPU_INLINE uint32_t land_lines(const trcpu_view *v, const uint32_t at[32]) {
    return trcpu_view_land_chunks(v, at, ~0u);
}

TRCPU_INLINE uint32_t read_chunks(const trcpu_view *v, const uint32_t *at, uint32_t count) {
    return trcpu_view_read_chunks(v, at, count);
}

TRCPU_INLINE uint32_t write_chunks(const trcpu_view *v, const uint32_t *at, uint32_t count) {
    return trcpu_view_write_chunks(v, at, ~0u >> (32 - count), trcpu_view_now(v));
}
#endif

#endif
