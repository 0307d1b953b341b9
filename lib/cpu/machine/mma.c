#include "machine/mma.h"

#include <math.h>
#include <string.h>

#include "machine/numeric.h"
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

/* c[parity][64]: even and odd columns; rows 0 … 7 in the first 32 lanes. Four vectors of each at a time fit
   the registers of every instruction set. */
#define MULTIPLY_STEP(s, MULTIPLY_ADD)                                                                       \
    do {                                                                                                     \
        vector even = REPEAT(b->value[q][s][0]), odd = REPEAT(b->value[q][s][1]);                            \
        for (int i = 0; i < 4; i++) {                                                                        \
            vector spread = SPREAD(row[i], s);                                                               \
            sum[0][i] = MULTIPLY_ADD(spread, even, sum[0][i]);                                               \
            sum[1][i] = MULTIPLY_ADD(spread, odd, sum[1][i]);                                                \
        }                                                                                                    \
    } while (0)
#define MULTIPLY(MULTIPLY_ADD)                                                                               \
    for (int lane = 0; lane < 64; lane += 4 * width) {                                                       \
        vector sum[2][4];                                                                                    \
        for (int i = 0; i < 8; i++) sum[i & 1][i >> 1] = LOAD(&c[i & 1][lane + (i >> 1) * width]);           \
        for (int q = 0; q < quads; q++) {                                                                    \
            vector row[4];                                                                                   \
            for (int i = 0; i < 4; i++) row[i] = LOAD(&a->value[q][lane + i * width]);                       \
            MULTIPLY_STEP(0, MULTIPLY_ADD);                                                                  \
            MULTIPLY_STEP(1, MULTIPLY_ADD);                                                                  \
            MULTIPLY_STEP(2, MULTIPLY_ADD);                                                                  \
            MULTIPLY_STEP(3, MULTIPLY_ADD);                                                                  \
        }                                                                                                    \
        for (int i = 0; i < 8; i++) STORE(&c[i & 1][lane + (i >> 1) * width], sum[i & 1][i >> 1]);           \
    }

TRCPU_INLINE void multiply(float c[2][64], const operand_a *a, const operand_b *b, int quads) {
    MULTIPLY(FMA);
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

/* One register row of B to quads, from quad `quad` on. */
TRCPU_INLINE void expand_b(operand_b *b, int quad, const uint32_t *row, element of) {
    const int units = units_of(of);
    uint32_t words[4][8];
    float *out = b->value[quad][0][0];
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

/* The operands of a product of `rows` register pairs (one register where m is 8); answers the quads filled.
 */
TRCPU_INLINE int load_operands(operand_a *a, operand_b *b, const void *const *a_rows,
                               const void *const *b_rows, int halves, int rows, element of_a, element of_b) {
    const int units = units_of(of_a);
    for (int i = 0; i < rows; i++) {
        for (int half = 0; half < halves; half++)
            expand_a((float(*)[64])(void *)(a->value[units * i] + 32 * half), a_rows[halves * i + half],
                     of_a);
        expand_b(b, units * i, b_rows[i], of_b);
    }
    return units * rows;
}

TRCPU_INLINE void mma_f32(void *const *d, const void *const *a_rows, const void *const *b_rows,
                          const void *const *c_rows, int rows, element of_a, element of_b) {
    operand_a a;
    operand_b b;
    float c[2][64];
    int quads = load_operands(&a, &b, a_rows, b_rows, 2, rows, of_a, of_b);
    for (int i = 0; i < 4; i++) memcpy(&c[i & 1][i >> 1 << 5], c_rows[i], 128);
    multiply(c, &a, &b, quads);
    for (int i = 0; i < 4; i++) memcpy(d[i], &c[i & 1][i >> 1 << 5], 128);
}

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

TRCPU_INLINE void mma_f16(void *const *d, const void *const *a_rows, const void *const *b_rows,
                          const void *const *c_rows, int rows, element of_a, element of_b) {
    operand_a a;
    operand_b b;
    float c[2][64];
    int quads = load_operands(&a, &b, a_rows, b_rows, 2, rows, of_a, of_b);
    for (int i = 0; i < 2; i++) widen_halves(&c[0][32 * i], &c[1][32 * i], c_rows[i]);
    multiply(c, &a, &b, quads);
    for (int i = 0; i < 2; i++) narrow_halves(d[i], &c[0][32 * i], &c[1][32 * i]);
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

TRCPU_INLINE void multiply_pairs(float c[2][64], const operand_a *a, const operand_b *b, int quads) {
    MULTIPLY(MADD);
}

TRCPU_INLINE void mma_s32(void *const *d, const void *const *a_rows, const void *const *b_rows,
                          const void *const *c_rows, int halves, int rows, element of_a, element of_b,
                          bool saturate) {
    operand_a a;
    operand_b b;
    float bits[2][64] = {0};
    if (halves == 1) memset(&a, 0, sizeof a);
    int quads = load_operands(&a, &b, a_rows, b_rows, halves, rows, of_a, of_b);
    multiply_pairs(bits, &a, &b, quads);
    for (int i = 0; i < 2 * halves; i++) {
        int32_t products[32], c[32];
        memcpy(products, &bits[i & 1][i >> 1 << 5], sizeof products);
        memcpy(c, c_rows[i], sizeof c);
        for (int lane = 0; lane < 32; lane++) {
            int32_t sum = (int32_t)((uint32_t)c[lane] + (uint32_t)products[lane]);
            bool overflow = ((c[lane] ^ sum) & (products[lane] ^ sum)) < 0;
            c[lane] = saturate && overflow ? (c[lane] < 0 ? INT32_MIN : INT32_MAX) : sum;
        }
        memcpy(d[i], c, sizeof c);
    }
}

TRCPU_INLINE void mma_f64(void *const *d, const void *const *a_rows, const void *const *b_rows,
                          const void *const *c_rows, int m, int k) {
    const int halves = m / 8;
    double out[4][32];
    for (int i = 0; i < 2 * halves; i++) {
        memcpy(out[i], c_rows[i], sizeof out[i]);
        for (int lane = 0; lane < 32; lane++)
            for (int at = 0; at < k; at++) {
                const double *a = a_rows[halves * (at / 4) + (i >> 1)], *b = b_rows[at / 4];
                int column = 2 * (lane & 3) + (i & 1);
                out[i][lane] = fma(a[(lane & ~3) + at % 4], b[4 * column + at % 4], out[i][lane]);
            }
    }
    for (int i = 0; i < 2 * halves; i++) memcpy(d[i], out[i], sizeof out[i]);
}

/* ---- the forms ---- */
#define DEFINE(name, ...)                                                                                    \
    static void name(void *const *d, const void *const *a, const void *const *b, const void *const *c) {     \
        __VA_ARGS__;                                                                                         \
    }
/* `rows`: registers of B, 16 bytes of k each. */
#define DEFINE_F32(name, rows, A, B) DEFINE(f32_##name, mma_f32(d, a, b, c, rows, A, B))
#define DEFINE_F16(name, rows, A, B) DEFINE(f16_##name, mma_f16(d, a, b, c, rows, A, B))
#define DEFINE_FP8(A, B)                                                                                     \
    DEFINE_F32(A##_##B##_16, 1, A, B)                                                                        \
    DEFINE_F16(A##_##B##_16, 1, A, B)                                                                        \
    DEFINE_F32(A##_##B##_32, 2, A, B)                                                                        \
    DEFINE_F16(A##_##B##_32, 2, A, B)
#define DEFINE_INTEGER(m, k, A, B)                                                                           \
    DEFINE(s32_##A##_##B##_##m##_##k, mma_s32(d, a, b, c, m / 8, k / 16, A, B, false))                       \
    DEFINE(sat_##A##_##B##_##m##_##k, mma_s32(d, a, b, c, m / 8, k / 16, A, B, true))
#define DEFINE_INTEGERS(m, k)                                                                                \
    DEFINE_INTEGER(m, k, S8, S8)                                                                             \
    DEFINE_INTEGER(m, k, S8, U8)                                                                             \
    DEFINE_INTEGER(m, k, U8, S8)                                                                             \
    DEFINE_INTEGER(m, k, U8, U8)

DEFINE_F32(F16_F16_8, 1, F16, F16)
DEFINE_F32(F16_F16_16, 2, F16, F16)
DEFINE_F16(F16_F16_8, 1, F16, F16)
DEFINE_F16(F16_F16_16, 2, F16, F16)
DEFINE_F32(BF16_BF16_8, 1, BF16, BF16)
DEFINE_F32(BF16_BF16_16, 2, BF16, BF16)
DEFINE_F32(TF32_TF32_4, 1, TF32, TF32)
DEFINE_F32(TF32_TF32_8, 2, TF32, TF32)
DEFINE_FP8(E4M3, E4M3)
DEFINE_FP8(E4M3, E5M2)
DEFINE_FP8(E5M2, E4M3)
DEFINE_FP8(E5M2, E5M2)
DEFINE_INTEGERS(8, 16)
DEFINE_INTEGERS(16, 16)
DEFINE_INTEGERS(16, 32)
DEFINE(f64_8_4, mma_f64(d, a, b, c, 8, 4))
DEFINE(f64_16_4, mma_f64(d, a, b, c, 16, 4))
DEFINE(f64_16_8, mma_f64(d, a, b, c, 16, 8))
DEFINE(f64_16_16, mma_f64(d, a, b, c, 16, 16))

/* `bytes` of k decide the registers: sixteen a register of B, and of A per eight rows. */
#define OPCODE(m, k, types) "mma.sync.aligned.m" #m "n8k" #k ".row.col." types
#define FORM_F32(k, bytes, a, b, A, B)                                                                       \
    {                                                                                                        \
        OPCODE(16, k, "f32." a "." b ".f32"), 16, 8, k, false, (bytes) / 8, (bytes) / 16, 4,                 \
            f32_##A##_##B##_##k                                                                              \
    }
#define FORM_F16(k, bytes, a, b, A, B)                                                                       \
    {                                                                                                        \
        OPCODE(16, k, "f16." a "." b ".f16"), 16, 8, k, false, (bytes) / 8, (bytes) / 16, 2,                 \
            f16_##A##_##B##_##k                                                                              \
    }
#define FORM_FP8(a, b, A, B)                                                                                 \
    FORM_F32(16, 16, a, b, A, B), FORM_F16(16, 16, a, b, A, B), FORM_F32(32, 32, a, b, A, B),                \
        FORM_F16(32, 32, a, b, A, B)
#define FORM_INTEGER(m, k, name, prefix, a, b, A, B)                                                         \
    {                                                                                                        \
        OPCODE(m, k, prefix "s32." a "." b ".s32"), m, 8, k, false, m *k / 128, k / 16, m / 4,               \
            name##_##A##_##B##_##m##_##k                                                                     \
    }
#define FORM_INTEGERS(m, k, name, prefix)                                                                    \
    FORM_INTEGER(m, k, name, prefix, "s8", "s8", S8, S8),                                                    \
        FORM_INTEGER(m, k, name, prefix, "s8", "u8", S8, U8),                                                \
        FORM_INTEGER(m, k, name, prefix, "u8", "s8", U8, S8),                                                \
        FORM_INTEGER(m, k, name, prefix, "u8", "u8", U8, U8)
#define FORM_F64(m, k)                                                                                       \
    { OPCODE(m, k, "f64.f64.f64.f64"), m, 8, k, true, m *k / 32, k / 4, m / 4, f64_##m##_##k }

static const trcpu_mma forms[] = {
    FORM_F32(8, 16, "f16", "f16", F16, F16),
    FORM_F32(16, 32, "f16", "f16", F16, F16),
    FORM_F16(8, 16, "f16", "f16", F16, F16),
    FORM_F16(16, 32, "f16", "f16", F16, F16),
    FORM_F32(8, 16, "bf16", "bf16", BF16, BF16),
    FORM_F32(16, 32, "bf16", "bf16", BF16, BF16),
    FORM_F32(4, 16, "tf32", "tf32", TF32, TF32),
    FORM_F32(8, 32, "tf32", "tf32", TF32, TF32),
    FORM_FP8("e4m3", "e4m3", E4M3, E4M3),
    FORM_FP8("e4m3", "e5m2", E4M3, E5M2),
    FORM_FP8("e5m2", "e4m3", E5M2, E4M3),
    FORM_FP8("e5m2", "e5m2", E5M2, E5M2),
    FORM_INTEGERS(8, 16, s32, ""),
    FORM_INTEGERS(8, 16, sat, "satfinite."),
    FORM_INTEGERS(16, 16, s32, ""),
    FORM_INTEGERS(16, 16, sat, "satfinite."),
    FORM_INTEGERS(16, 32, s32, ""),
    FORM_INTEGERS(16, 32, sat, "satfinite."),
    FORM_F64(8, 4),
    FORM_F64(16, 4),
    FORM_F64(16, 8),
    FORM_F64(16, 16),
};

const trcpu_mma *trcpu_mma_find(const char *opcode) {
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].opcode, opcode) == 0) return &forms[i];
    return NULL;
}

/* ---- ldmatrix, stmatrix, movmatrix ---- */
typedef uint16_t row16 __attribute__((vector_size(16)));

#define LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)

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

void trcpu_ldmatrix(uint32_t *const *d, const uint8_t *const *address, int count, bool transposed) {
    for (int i = 0; i < count; i++) {
        row16 matrix[8];
        for (int row = 0; row < 8; row++) memcpy(&matrix[row], address[8 * i + row], 16);
        if (transposed) transpose16(matrix);
        memcpy(d[i], matrix, sizeof matrix);
    }
}

void trcpu_stmatrix(uint8_t *const *address, const uint32_t *const *s, int count, bool transposed) {
    for (int i = 0; i < count; i++) {
        row16 matrix[8];
        memcpy(matrix, s[i], sizeof matrix);
        if (transposed) transpose16(matrix);
        for (int row = 0; row < 8; row++) memcpy(address[8 * i + row], &matrix[row], 16);
    }
}

void trcpu_movmatrix(uint32_t *d, const uint32_t *s) {
    row16 matrix[8];
    memcpy(matrix, s, sizeof matrix);
    transpose16(matrix);
    memcpy(d, matrix, sizeof matrix);
}
