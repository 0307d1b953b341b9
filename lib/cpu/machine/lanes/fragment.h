/* What mma.sync, ldmatrix and wgmma share: fragments opened into floats (or pairs of integers), and their product. Included
   by the files that multiply; each instruction set gets a copy of its own. */
#ifndef TRCPU_FRAGMENT_H
#define TRCPU_FRAGMENT_H

#include <string.h>

#include "machine/numeric.h"
#include "machine/lanes/together.h"
#ifdef __AVX__
#include <immintrin.h>
#endif

/* A register row of A is an 8 × 16-byte tile: lane 4g + t holds bytes 4t … 4t + 3 of the tile's row g.
   Registers 0 and 1 are the upper and lower eight rows of the first 16 bytes of k, 2 and 3 those of the next,
   and so on. B is the same with its columns as rows, one register per 16 bytes of k. c0/c1 hold the even/odd
   columns 2t, 2t + 1 of row g, c2/c3 those of row g + 8.

   The product works on lanes as they lie in C: with k cut into quads, A is kept as a[quad][4g + s], k = 4
   quad + s, and B as b[quad][s][column parity][column / 2]; then for each s a vector of C is increased by A
   with its s-th lane in four spread over the four, times four values of B repeated: no gather anywhere. */
enum { max_quads = 8 };

typedef struct operand_a {
    float value[max_quads][64]; /* 32 lanes of the upper half, 32 of the lower */
} operand_a;

typedef struct operand_b {
    float value[max_quads][4][2][4];
} operand_b;

#if defined(__AVX512F__)
enum { width = 16 };
typedef __m512 vector;
#define LOAD(p)      _mm512_loadu_ps(p)
#define STORE(p, v)  _mm512_storeu_ps(p, v)
#define REPEAT(p)    _mm512_broadcast_f32x4(_mm_loadu_ps(p))
#define SPREAD(v, s) _mm512_permute_ps(v, (s)*0x55)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#elif defined(__AVX2__) && defined(__FMA__)
enum { width = 8 };
typedef __m256 vector;
#define LOAD(p)      _mm256_loadu_ps(p)
#define STORE(p, v)  _mm256_storeu_ps(p, v)
#define REPEAT(p)    _mm256_broadcast_ps((const __m128 *)(const void *)(p))
#define SPREAD(v, s) _mm256_permute_ps(v, (s)*0x55)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#else
enum { width = 4 };
typedef float vector __attribute__((vector_size(16)));
TRCPU_INLINE vector load4(const float *p) {
    vector v;
    memcpy(&v, p, sizeof v);
    return v;
}
#define LOAD(p)      load4(p)
#define STORE(p, v)  memcpy(p, &(vector){(v)[0], (v)[1], (v)[2], (v)[3]}, sizeof(vector))
#define REPEAT(p)    load4(p)
#define SPREAD(v, s) ((vector){(v)[s], (v)[s], (v)[s], (v)[s]})
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

/* Two products of one A share what is spread of it where there are registers enough. */
enum { together = width == 16 ? 2 : 1, passes = 16 / width };

/* An accumulator is four register rows: even and odd columns of the upper eight rows, then of the lower. Four vectors of
   each parity at a time: i counts even and odd ones in turns. */
#define ROW_OF(rows, i) ((rows)[(4 * pass + (i) / 2) * width / 32 * 2 + (i) % 2])
#define LANE_OF(i)      ((4 * pass + (i) / 2) * width % 32)
#define EACH(i, end)    _Pragma("GCC unroll 8") for (int i = 0; i < (end); i++)
#define MULTIPLY_STEP(s, MULTIPLY_ADD)                                                                       \
    EACH(i, 4) {                                                                                             \
        vector spread = SPREAD(row[i], s);                                                                   \
        EACH(n, count) {                                                                                     \
            sum[n][2 * i] = MULTIPLY_ADD(spread, REPEAT(b[n]->value[q][s][0]), sum[n][2 * i]);               \
            sum[n][2 * i + 1] = MULTIPLY_ADD(spread, REPEAT(b[n]->value[q][s][1]), sum[n][2 * i + 1]);       \
        }                                                                                                    \
    }
#define MULTIPLY(MULTIPLY_ADD)                                                                               \
    for (int pass = 0; pass < passes; pass++) {                                                              \
        vector sum[together][8];                                                                             \
        EACH(n, count) EACH(i, 8) sum[n][i] = LOAD(ROW_OF(from[n], i) + LANE_OF(i));                         \
        for (int q = 0; q < quads; q++) {                                                                    \
            vector row[4];                                                                                   \
            EACH(i, 4) row[i] = LOAD(&a->value[q][(4 * pass + i) * width]);                                  \
            MULTIPLY_STEP(0, MULTIPLY_ADD)                                                                   \
            MULTIPLY_STEP(1, MULTIPLY_ADD)                                                                   \
            MULTIPLY_STEP(2, MULTIPLY_ADD)                                                                   \
            MULTIPLY_STEP(3, MULTIPLY_ADD)                                                                   \
        }                                                                                                    \
        EACH(n, count) EACH(i, 8) STORE(ROW_OF(to[n], i) + LANE_OF(i), sum[n][i]);                           \
    }

/* `count` products of the same A; `from` of the later ones is not `to` of the earlier. Where there is more than one pass,
   a row of `to` is that of `from` or none of them. */
TRCPU_INLINE void multiply_rows(int count, float *const (*to)[4], float *const (*from)[4], const operand_a *a,
                                const operand_b *const *b, int quads){MULTIPLY(FMA)}

/* c[parity][64]: the rows side by side. */
TRCPU_INLINE void multiply(float c[2][64], const operand_a *a, const operand_b *b, int quads) {
    float *const rows[1][4] = {{c[0], c[1], c[0] + 32, c[1] + 32}};
    multiply_rows(1, rows, rows, a, &b, quads);
}

/* What a word of an operand holds, and becomes: floats, or pairs of 16-bit integers (an operand of bytes is
   multiplied pairwise). `units`: how many results a word gives, in ascending k. */
typedef enum element { TF32, F16, BF16, E4M3, E5M2, S8, U8 } element;

TRCPU_INLINE int units_of(element of) {
    return of == TF32 ? 1 : of == E4M3 || of == E5M2 ? 4 : 2;
}

TRCPU_INLINE uint32_t expand(uint32_t word, int unit, element of) {
    switch (of) {
    case TF32: return word & 0xffffe000;
    case F16: return trcpu_bits(trcpu_widen(word >> (16 * unit), TRCPU_F16));
    case BF16: return unit ? word & 0xffff0000 : word << 16;
    case E4M3: return trcpu_bits(trcpu_widen(word >> (8 * unit), TRCPU_E4M3));
    case E5M2: return trcpu_bits(trcpu_widen(word >> (8 * unit), TRCPU_E5M2));
    case S8:
        return ((uint32_t)(int8_t)(word >> (16 * unit)) & 0xffff) |
               (uint32_t)(int8_t)(word >> (16 * unit + 8)) << 16;
    default: return (word >> (16 * unit) & 0xff) | (word >> (16 * unit + 8) & 0xff) << 16;
    }
}

#if defined(__AVX2__) && defined(__F16C__)
#define HAVE_EXPAND 1
/* Eight 16-bit units. */
TRCPU_INLINE __m256 expand8(__m128i units, element of) {
    switch (of) {
    case F16: return _mm256_cvtph_ps(units);
    case BF16: return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(units), 16));
    case S8: return _mm256_castsi256_ps(_mm256_cvtepi8_epi16(units));
    default: return _mm256_castsi256_ps(_mm256_cvtepu8_epi16(units));
    }
}

/* The low eight bytes, by way of f16: e5m2 is its upper half; e4m3 has one exponent bit less and another
 * bias. */
TRCPU_INLINE __m256 expand8_bytes(__m128i bytes, element of) {
    __m128i high = _mm_slli_epi16(_mm_cvtepu8_epi16(bytes), 8);
    if (of == E5M2) return _mm256_cvtph_ps(high);
    __m128i sign = _mm_and_si128(high, _mm_set1_epi16((short)0x8000)), magnitude = _mm_slli_epi16(high, 1);
    __m128i nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16((short)0xfe00));
    __m128i half = _mm_or_si128(_mm_or_si128(sign, _mm_srli_epi16(magnitude, 2)), nan);
    return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256));
}
#endif
#ifdef __AVX512BW__
TRCPU_INLINE __m512 expand16(__m256i units, element of) {
    switch (of) {
    case F16: return _mm512_cvtph_ps(units);
    case BF16: return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(units), 16));
    case S8: return _mm512_castsi512_ps(_mm512_cvtepi8_epi16(units));
    default: return _mm512_castsi512_ps(_mm512_cvtepu8_epi16(units));
    }
}
#endif

/* One register row of A: lane 4g + t to quads, out[quad][4g + s]. Where a word gives two, the sixteen bytes
   of a tile's row give two quads side by side; they part here. */
TRCPU_INLINE void expand_a(float (*out)[64], const uint32_t *row, element of) {
#if defined(__AVX512BW__)
    if (units_of(of) == 2) {
        for (int lane = 0; lane < 32; lane += 16) {
            __m512 low = expand16(_mm256_loadu_si256((const void *)(row + lane)), of);
            __m512 high = expand16(_mm256_loadu_si256((const void *)(row + lane + 8)), of);
            _mm512_storeu_ps(out[0] + lane, _mm512_shuffle_f32x4(low, high, 0x88));
            _mm512_storeu_ps(out[1] + lane, _mm512_shuffle_f32x4(low, high, 0xdd));
        }
        return;
    }
#elif defined(HAVE_EXPAND)
    if (units_of(of) == 2) {
        for (int lane = 0; lane < 32; lane += 8) {
            __m256 low = expand8(_mm_loadu_si128((const void *)(row + lane)), of);
            __m256 high = expand8(_mm_loadu_si128((const void *)(row + lane + 4)), of);
            _mm256_storeu_ps(out[0] + lane, _mm256_permute2f128_ps(low, high, 0x20));
            _mm256_storeu_ps(out[1] + lane, _mm256_permute2f128_ps(low, high, 0x31));
        }
        return;
    }
#endif
#ifdef HAVE_EXPAND
    if (units_of(of) == 4) {
        for (int lane = 0; lane < 32; lane += 2) {
            __m256 two = expand8_bytes(_mm_loadl_epi64((const void *)(row + lane)), of);
            _mm_storeu_ps(out[lane & 2] + (lane & ~3), _mm256_castps256_ps128(two));
            _mm_storeu_ps(out[(lane & 2) + 1] + (lane & ~3), _mm256_extractf128_ps(two, 1));
        }
        return;
    }
#endif
    const int units = units_of(of);
    uint32_t flat[32 * 4];
    for (int unit = 0; unit < units; unit++) {
        uint32_t plane[32];
        for (int lane = 0; lane < 32; lane++) plane[lane] = expand(row[lane], unit, of);
        for (int lane = 0; lane < 32; lane++) flat[lane * units + unit] = plane[lane];
    }
    for (int g = 0; g < 8; g++)
        for (int quad = 0; quad < units; quad++) memcpy(out[quad] + 4 * g, flat + 4 * (units * g + quad), 16);
}

/* Columns as rows, 4n + t, to t, column parity, column / 2. */
TRCPU_INLINE void transpose_columns(uint32_t out[4][8], const uint32_t *in) {
#if defined(__AVX2__)
    __m256i row[4], half[4]; /* two columns each: an even one in the lower lane, an odd one in the upper */
    for (int i = 0; i < 4; i++) row[i] = _mm256_loadu_si256((const void *)(in + 8 * i));
    for (int i = 0; i < 2; i++) {
        half[i] = _mm256_unpacklo_epi32(row[2 * i], row[2 * i + 1]);
        half[i + 2] = _mm256_unpackhi_epi32(row[2 * i], row[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        _mm256_storeu_si256((void *)out[2 * i], _mm256_unpacklo_epi64(half[2 * i], half[2 * i + 1]));
        _mm256_storeu_si256((void *)out[2 * i + 1], _mm256_unpackhi_epi64(half[2 * i], half[2 * i + 1]));
    }
#else
    for (int t = 0; t < 4; t++)
        for (int column = 0; column < 8; column++)
            out[t][(column & 1) * 4 + (column >> 1)] = in[4 * column + t];
#endif
}

#ifdef __AVX512BW__
/* Which 16-bit elements of a register row four k take: of each k those of the even columns, then of the odd. */
TRCPU_INLINE __m512i columns_first(int half) {
    uint16_t index[32];
    for (int i = 0; i < 32; i++) {
        int k = 4 * half + i / 8, column = i % 8 < 4 ? 2 * (i % 4) : 2 * (i % 4) + 1;
        index[i] = (uint16_t)(2 * (4 * column + k / 2) + k % 2);
    }
    return _mm512_loadu_si512(index);
}
#endif

/* One register row of B to quads, from quad `quad` on. */
TRCPU_INLINE void expand_b(operand_b *b, int quad, const uint32_t *row, element of) {
    const int units = units_of(of);
    uint32_t words[4][8];
    float *out = b->value[quad][0][0];
#ifdef __AVX512BW__
    if (units == 2) {
        __m512i low = _mm512_loadu_si512(row), high = _mm512_loadu_si512(row + 16);
        for (int half = 0; half < 2; half++) {
            __m512i four = _mm512_permutex2var_epi16(low, columns_first(half), high);
            _mm512_storeu_ps(out + 32 * half, expand16(_mm512_castsi512_si256(four), of));
            _mm512_storeu_ps(out + 32 * half + 16, expand16(_mm512_extracti64x4_epi64(four, 1), of));
        }
        return;
    }
#endif
    transpose_columns(words, row);
#ifdef HAVE_EXPAND
    if (units == 2) {
        const __m256i part = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, /* */
                                              0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
        for (int t = 0; t < 4; t++) {
            __m256i parted = _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)words[t]), part);
            parted = _mm256_permute4x64_epi64(parted, 0xd8);
            _mm256_storeu_ps(out + 16 * t, expand8(_mm256_castsi256_si128(parted), of));
            _mm256_storeu_ps(out + 16 * t + 8, expand8(_mm256_extracti128_si256(parted, 1), of));
        }
        return;
    }
    if (units == 4) {
        const __m256i part = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, /* */
                                              0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        const __m256i join = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        for (int t = 0; t < 4; t++) {
            __m256i parted = _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)words[t]), part);
            parted = _mm256_permutevar8x32_epi32(parted, join);
            __m128i low = _mm256_castsi256_si128(parted), high = _mm256_extracti128_si256(parted, 1);
            _mm256_storeu_ps(out + 32 * t, expand8_bytes(low, of));
            _mm256_storeu_ps(out + 32 * t + 8, expand8_bytes(_mm_srli_si128(low, 8), of));
            _mm256_storeu_ps(out + 32 * t + 16, expand8_bytes(high, of));
            _mm256_storeu_ps(out + 32 * t + 24, expand8_bytes(_mm_srli_si128(high, 8), of));
        }
        return;
    }
#endif
    for (int unit = 0; unit < units; unit++) {
        uint32_t plane[4][8];
        for (int t = 0; t < 4; t++)
            for (int i = 0; i < 8; i++) plane[t][i] = expand(words[t][i], unit, of);
        for (int t = 0; t < 4; t++) memcpy(out + 8 * (units * t + unit), plane[t], sizeof plane[t]);
    }
}

/* An accumulator of f16: even columns in the lower halves. */
TRCPU_INLINE void widen_halves(float *even, float *odd, const uint32_t *row) {
    for (int lane = 0; lane < 32; lane++) {
        even[lane] = trcpu_widen(row[lane], TRCPU_F16);
        odd[lane] = trcpu_widen(row[lane] >> 16, TRCPU_F16);
    }
}

TRCPU_INLINE void narrow_halves(uint32_t *row, const float *even, const float *odd) {
    for (int lane = 0; lane < 32; lane++)
        row[lane] = trcpu_narrow(even[lane], TRCPU_F16, TRCPU_ROUND_NEAREST, 0) |
                    trcpu_narrow(odd[lane], TRCPU_F16, TRCPU_ROUND_NEAREST, 0) << 16;
}

/* ---- integers: the same layout, with a pair of 16-bit numbers where the other has a float ---- */
#if defined(__AVX512BW__)
#define MADD(a, b, c)                                                                                        \
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(c),                                             \
                                         _mm512_madd_epi16(_mm512_castps_si512(a), _mm512_castps_si512(b))))
#elif defined(HAVE_EXPAND) && !defined(__AVX512F__) && defined(__FMA__)
#define MADD(a, b, c)                                                                                        \
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(c),                                             \
                                         _mm256_madd_epi16(_mm256_castps_si256(a), _mm256_castps_si256(b))))
#else
typedef int32_t sums __attribute__((vector_size(16)));
TRCPU_INLINE vector madd(vector a, vector b, vector c) {
    sums low = ((sums)a << 16 >> 16) * ((sums)b << 16 >> 16), high = ((sums)a >> 16) * ((sums)b >> 16);
    return (vector)((sums)c + low + high);
}
#define MADD(a, b, c) madd(a, b, c)
#endif

TRCPU_INLINE void multiply_pairs(float c[2][64], const operand_a *a, const operand_b *of_b, int quads) {
    float *const from[1][4] = {{c[0], c[1], c[0] + 32, c[1] + 32}}, *const(*to)[4] = from;
    const operand_b *const *b = &of_b;
    enum { count = 1 };
    MULTIPLY(MADD)
}

/* ---- 8 × 8 matrices of 16-bit elements ---- */
typedef uint16_t row16 __attribute__((vector_size(16)));

#define LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)

#ifdef __AVX512BW__
/* Of each column four elements from both: those of the columns 0 … 3, and of 4 … 7. */
TRCPU_INLINE void transpose_halves(__m512i *upper, __m512i *lower) {
    __m512i columns[2];
    for (int half = 0; half < 2; half++) {
        uint16_t index[32];
        for (int i = 0; i < 32; i++) index[i] = (uint16_t)(i % 8 * 8 + i / 8 + 4 * half);
        columns[half] = _mm512_permutex2var_epi16(*upper, _mm512_loadu_si512(index), *lower);
    }
    *upper = columns[0];
    *lower = columns[1];
}

TRCPU_INLINE void transpose16(row16 matrix[8]) {
    __m512i upper = _mm512_loadu_si512(matrix), lower = _mm512_loadu_si512(matrix + 4);
    transpose_halves(&upper, &lower);
    memcpy(matrix, &upper, sizeof upper);
    memcpy(matrix + 4, &lower, sizeof lower);
}
#else
/* Three rounds of interleaving row i with row i + 4. */
TRCPU_INLINE void transpose16(row16 matrix[8]) {
    for (int round = 0; round < 3; round++) {
        row16 next[8];
        for (int i = 0; i < 4; i++) {
            next[2 * i] = LOW(matrix[i], matrix[i + 4]);
            next[2 * i + 1] = HIGH(matrix[i], matrix[i + 4]);
        }
        memcpy(matrix, next, sizeof next);
    }
}
#endif

#endif
