/* For the files of this folder, which are compiled once per instruction set (TRCPU_VARIANT names it): how handlers
   are written. Everything is loops over 32 lanes that the compiler turns into vectors.

     UNARY(neg_f32, float, float, -a)                          d = row of op[0], a from op[1]
     BINARY(add_u32, uint32_t, uint32_t, uint32_t, a + b)      … b from op[2]
     TERNARY(fma_f32, float, float, float, float, …)           … c from op[3]
     HANDLER(name) { … return insn + 1; }                      anything else; sees warp, insn, mask

   A form of kind PURE computes all 32 lanes and never faults; the caller restores the lanes that were not to
   execute. Others look at mask themselves. */
#ifndef TRCPU_LANES_H
#define TRCPU_LANES_H

#include "machine/numeric.h"
#include "machine/warp.h"

#include <math.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define TRCPU_JOIN_(a, b) a##_##b
#define TRCPU_JOIN(a, b)  TRCPU_JOIN_(a, b)
#define TRCPU_NAMED(name) TRCPU_JOIN(name, TRCPU_VARIANT)

#ifdef __clang__
#define LANES _Pragma("clang loop vectorize(assume_safety)") for (uint32_t l = 0; l < 32; l++)
#else
#define LANES _Pragma("GCC ivdep") for (uint32_t l = 0; l < 32; l++)
#endif
#define ACTIVE_LANES                                                                                         \
    for (uint32_t rest_ = mask, l; rest_ && (l = (uint32_t)__builtin_ctz(rest_), 1); rest_ &= rest_ - 1)

#define HANDLER(name)        static const trcpu_insn *name(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask)
#define ROW_AT(type, offset) ((type *)__builtin_assume_aligned(warp->file + (offset), 64))
#define ROW(type, k)         ROW_AT(type, insn->op[k])
#define PREDICATE_AT(offset) ((uint32_t *)(void *)(warp->file + (offset)))
#define PREDICATE(k)         PREDICATE_AT(insn->op[k])

#define UNARY(name, D, A, expression)                                                                        \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        D *d = ROW(D, 0);                                                                                    \
        const A *as = ROW(A, 1);                                                                             \
        LANES {                                                                                              \
            A a = as[l];                                                                                     \
            d[l] = (D)(expression);                                                                          \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    }

#define BINARY(name, D, A, B, expression)                                                                    \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        D *d = ROW(D, 0);                                                                                    \
        const A *as = ROW(A, 1);                                                                             \
        const B *bs = ROW(B, 2);                                                                             \
        LANES {                                                                                              \
            A a = as[l];                                                                                     \
            B b = bs[l];                                                                                     \
            d[l] = (D)(expression);                                                                          \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    }

#define TERNARY(name, D, A, B, C, expression)                                                                \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        D *d = ROW(D, 0);                                                                                    \
        const A *as = ROW(A, 1);                                                                             \
        const B *bs = ROW(B, 2);                                                                             \
        const C *cs = ROW(C, 3);                                                                             \
        LANES {                                                                                              \
            A a = as[l];                                                                                     \
            B b = bs[l];                                                                                     \
            C c = cs[l];                                                                                     \
            d[l] = (D)(expression);                                                                          \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    }

#define PURE TRCPU_FORM_PURE
#define END_OF_FORMS                                                                                         \
    { 0 }

/* A bit for each lane that has its highest bit set: where a loop over the lanes made it all ones, or zero. */
TRCPU_INLINE uint32_t signs_of(const int32_t lanes[32]) {
    uint32_t signs = 0;
#if defined(__AVX512DQ__)
    for (uint32_t l = 0; l < 32; l += 16)
        signs |= (uint32_t)_mm512_movepi32_mask(_mm512_loadu_si512(lanes + l)) << l;
#elif defined(__AVX2__)
    for (uint32_t l = 0; l < 32; l += 8)
        signs |= (uint32_t)_mm256_movemask_ps(_mm256_loadu_ps((const float *)(const void *)(lanes + l))) << l;
#else
    for (uint32_t l = 0; l < 32; l++) signs |= (uint32_t)lanes[l] >> 31 << l;
#endif
    return signs;
}

/* `bits`: a bit for each lane for which the condition, of l, holds. */
#define SET_LANES(bits, condition)                                                                           \
    do {                                                                                                     \
        int32_t holds_[32];                                                                                  \
        LANES holds_[l] = (condition) ? -1 : 0;                                                              \
        bits = signs_of(holds_);                                                                             \
    } while (0)

/* To each lane the value of the first of its four. */
TRCPU_INLINE void first_of_four(uint32_t first[32], const uint32_t value[32]) {
#ifdef __AVX512F__
    for (uint32_t l = 0; l < 32; l += 16)
        _mm512_storeu_si512(first + l, _mm512_shuffle_epi32(_mm512_loadu_si512(value + l), _MM_PERM_AAAA));
#else
    for (uint32_t l = 0; l < 32; l++) first[l] = value[l & ~3u];
#endif
}

TRCPU_INLINE void first_of_four64(uint64_t first[32], const uint64_t value[32]) {
#ifdef __AVX512F__
    for (uint32_t l = 0; l < 32; l += 8)
        _mm512_storeu_si512(first + l, _mm512_permutex_epi64(_mm512_loadu_si512(value + l), 0));
#else
    for (uint32_t l = 0; l < 32; l++) first[l] = value[l & ~3u];
#endif
}

/* A predicate's new value in the lanes that execute. */
static inline void set_predicate(uint32_t *predicate, uint32_t value, uint32_t mask) {
    *predicate = (*predicate & ~mask) | (value & mask);
}

static inline float flush(float value) { /* .ftz: subnormals are zeros of their sign */
    uint32_t bits = trcpu_bits(value);
    return trcpu_float(bits & 0x7f800000 ? bits : bits & 0x80000000);
}

static inline float saturate(float value) { /* .sat: to [0, 1], NaN to 0 */
    return value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
}

static inline float canonical(float value) { /* arithmetic gives one NaN */
    return value != value ? trcpu_float(0x7fffffff) : value;
}

#define DECLARE_FORMS(name) extern const trcpu_form TRCPU_NAMED(trcpu_forms_##name)[]
DECLARE_FORMS(control);
DECLARE_FORMS(move);
DECLARE_FORMS(integer);
DECLARE_FORMS(bits);
DECLARE_FORMS(float);
DECLARE_FORMS(double);
DECLARE_FORMS(half);
DECLARE_FORMS(approximate);
DECLARE_FORMS(convert);
DECLARE_FORMS(compare);
DECLARE_FORMS(access);
DECLARE_FORMS(atomic);
DECLARE_FORMS(async);
DECLARE_FORMS(shuffle);
DECLARE_FORMS(barrier);
DECLARE_FORMS(matrix);
DECLARE_FORMS(mma);
DECLARE_FORMS(wgmma);
DECLARE_FORMS(mbarrier);
DECLARE_FORMS(bulk);
DECLARE_FORMS(cluster);

#define FORMS(name) const trcpu_form TRCPU_NAMED(trcpu_forms_##name)[] =

#endif
