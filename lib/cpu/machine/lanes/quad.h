/* Pieces of 16 bytes, four in a vector: what lanes load and store that lie apart. For AVX-512. */
#ifndef TRCPU_QUAD_H
#define TRCPU_QUAD_H

#include "machine/numeric.h"

#ifdef __AVX512F__
#include <immintrin.h>

typedef __m512i quad;

TRCPU_INLINE quad join_quad(const char *a, const char *b, const char *c, const char *d) {
    quad q = _mm512_castsi128_si512(_mm_loadu_si128((const void *)a));
    q = _mm512_inserti32x4(q, _mm_loadu_si128((const void *)b), 1);
    q = _mm512_inserti32x4(q, _mm_loadu_si128((const void *)c), 2);
    return _mm512_inserti32x4(q, _mm_loadu_si128((const void *)d), 3);
}

/* Word w of piece p of vector v becomes word v of piece p of vector w. */
TRCPU_INLINE void transpose_quads(quad q[4]) {
    const quad low = _mm512_unpacklo_epi32(q[0], q[1]), high = _mm512_unpackhi_epi32(q[0], q[1]);
    const quad low2 = _mm512_unpacklo_epi32(q[2], q[3]), high2 = _mm512_unpackhi_epi32(q[2], q[3]);
    q[0] = _mm512_unpacklo_epi64(low, low2);
    q[1] = _mm512_unpackhi_epi64(low, low2);
    q[2] = _mm512_unpacklo_epi64(high, high2);
    q[3] = _mm512_unpackhi_epi64(high, high2);
}
#endif

#endif
