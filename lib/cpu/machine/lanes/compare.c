/* setp and set. mode: the comparison in the low five bits, what the result is combined with above. */
#include "machine/lanes/lanes.h"

/* The order of COMPARISONS: "lo" and its like are the unsigned names. */
enum { EQ, NE, LT, LE, GT, GE, LO, LS, HI, HS, EQU, NEU, LTU, LEU, GTU, GEU, NUM, NAN_ };
#define COMPARISONS "#eq|ne|lt|le|gt|ge|lo|ls|hi|hs|equ|neu|ltu|leu|gtu|geu|num|nan"
enum { AND = 1, OR, XOR };

#define BITS(condition)                                                                                      \
    SET_LANES(r, condition);                                                                                 \
    break

#define INTEGERS(name, type, row)                                                                            \
    TRCPU_INLINE uint32_t name(const row *x, const row *y, uint32_t mode) {                                  \
        uint32_t r = 0;                                                                                      \
        switch (mode & 31) {                                                                                 \
        case EQ: BITS((type)x[l] == (type)y[l]);                                                             \
        case NE: BITS((type)x[l] != (type)y[l]);                                                             \
        case LT:                                                                                             \
        case LO: BITS((type)x[l] < (type)y[l]);                                                              \
        case LE:                                                                                             \
        case LS: BITS((type)x[l] <= (type)y[l]);                                                             \
        case GT:                                                                                             \
        case HI: BITS((type)x[l] > (type)y[l]);                                                              \
        default: BITS((type)x[l] >= (type)y[l]);                                                             \
        }                                                                                                    \
        return r;                                                                                            \
    }
INTEGERS(compare_u16, uint16_t, uint32_t)
INTEGERS(compare_s16, int16_t, uint32_t)
INTEGERS(compare_u32, uint32_t, uint32_t)
INTEGERS(compare_s32, int32_t, uint32_t)
INTEGERS(compare_u64, uint64_t, uint64_t)
INTEGERS(compare_s64, int64_t, uint64_t)

#define FLOATS(name, type)                                                                                   \
    static inline uint32_t name(const type *x, const type *y, uint32_t mode) {                               \
        uint32_t r = 0;                                                                                      \
        switch (mode & 31) {                                                                                 \
        case EQ: BITS(x[l] == y[l]);                                                                         \
        case NE: BITS((x[l] < y[l]) | (x[l] > y[l]));                                                        \
        case LT: BITS(x[l] < y[l]);                                                                          \
        case LE: BITS(x[l] <= y[l]);                                                                         \
        case GT: BITS(x[l] > y[l]);                                                                          \
        case GE: BITS(x[l] >= y[l]);                                                                         \
        case EQU: BITS(!((x[l] < y[l]) | (x[l] > y[l])));                                                    \
        case NEU: BITS(x[l] != y[l]);                                                                        \
        case LTU: BITS(!(x[l] >= y[l]));                                                                     \
        case LEU: BITS(!(x[l] > y[l]));                                                                      \
        case GTU: BITS(!(x[l] <= y[l]));                                                                     \
        case GEU: BITS(!(x[l] < y[l]));                                                                      \
        case NUM: BITS((x[l] == x[l]) & (y[l] == y[l]));                                                     \
        default: BITS((x[l] != x[l]) | (y[l] != y[l]));                                                      \
        }                                                                                                    \
        return r;                                                                                            \
    }
FLOATS(compare_floats, float)
FLOATS(compare_f64, double)

static inline uint32_t compare_f32(const float *x, const float *y, uint32_t mode, bool ftz) {
    if (!ftz) return compare_floats(x, y, mode);
    float a[32], b[32];
    LANES a[l] = flush(x[l]);
    LANES b[l] = flush(y[l]);
    return compare_floats(a, b, mode);
}

static inline uint32_t compare_half(const uint32_t *x, const uint32_t *y, uint32_t mode, uint32_t shift,
                                    trcpu_format format, bool ftz) {
    float a[32], b[32];
    LANES a[l] = trcpu_widen(x[l] >> shift & 0xffff, format);
    LANES b[l] = trcpu_widen(y[l] >> shift & 0xffff, format);
    if (ftz) {
        LANES a[l] = fabsf(a[l]) < 6.103515625e-05f ? 0 : a[l];
        LANES b[l] = fabsf(b[l]) < 6.103515625e-05f ? 0 : b[l];
    }
    return compare_floats(a, b, mode);
}

static inline uint32_t combine(uint32_t r, uint32_t c, uint32_t how) {
    return how == AND ? r & c : how == OR ? r | c : how == XOR ? r ^ c : r;
}

/* p = r op c, q = !r op c */
static inline const trcpu_insn *conclude(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                         uint32_t r) {
    uint32_t how = insn->mode >> 5, c = how ? *PREDICATE(4) : 0;
    set_predicate(PREDICATE(1), combine(~r, c, how), mask);
    set_predicate(PREDICATE(0), combine(r, c, how), mask);
    return insn + 1;
}

#define SETP(name, type, compared)                                                                           \
    HANDLER(name) {                                                                                          \
        const type *x = ROW(type, 2), *y = ROW(type, 3);                                                     \
        return conclude(warp, insn, mask, compared);                                                         \
    }
SETP(setp_u16, uint32_t, compare_u16(x, y, insn->mode))
SETP(setp_s16, uint32_t, compare_s16(x, y, insn->mode))
SETP(setp_u32, uint32_t, compare_u32(x, y, insn->mode))
SETP(setp_s32, uint32_t, compare_s32(x, y, insn->mode))
SETP(setp_u64, uint64_t, compare_u64(x, y, insn->mode))
SETP(setp_s64, uint64_t, compare_s64(x, y, insn->mode))
SETP(setp_f64, double, compare_f64(x, y, insn->mode))
SETP(setp_f32, float, compare_f32(x, y, insn->mode, insn->flags &TRCPU_HAS_FTZ))
SETP(setp_f16, uint32_t, compare_half(x, y, insn->mode, 0, TRCPU_F16, insn->flags &TRCPU_HAS_FTZ))
SETP(setp_bf16, uint32_t, compare_half(x, y, insn->mode, 0, TRCPU_BF16, false))

/* p|q are the two halves' results. */
#define SETP_PAIR(name, format)                                                                              \
    HANDLER(name) {                                                                                          \
        const uint32_t *x = ROW(uint32_t, 2), *y = ROW(uint32_t, 3);                                         \
        bool ftz = insn->flags & TRCPU_HAS_FTZ;                                                              \
        uint32_t how = insn->mode >> 5, c = how ? *PREDICATE(4) : 0;                                         \
        uint32_t high = compare_half(x, y, insn->mode, 16, format, ftz);                                     \
        set_predicate(PREDICATE(0), combine(compare_half(x, y, insn->mode, 0, format, ftz), c, how), mask);  \
        set_predicate(PREDICATE(1), combine(high, c, how), mask);                                            \
        return insn + 1;                                                                                     \
    }
SETP_PAIR(setp_f16x2, TRCPU_F16)
SETP_PAIR(setp_bf16x2, TRCPU_BF16)

/* d is all ones, or 1.0, where the comparison holds. */
#define SET(name, type, compared, one)                                                                       \
    HANDLER(name) {                                                                                          \
        uint32_t *d = ROW(uint32_t, 0);                                                                      \
        const type *x = ROW(type, 1), *y = ROW(type, 2);                                                     \
        uint32_t how = insn->mode >> 5, r = combine(compared, how ? *PREDICATE(3) : 0, how);                 \
        (void)mask;                                                                                          \
        LANES d[l] = r >> l & 1 ? one : 0;                                                                   \
        return insn + 1;                                                                                     \
    }
#define SET_BOTH(suffix, type, compared)                                                                     \
    SET(set_i_##suffix, type, compared, ~0u)                                                                 \
    SET(set_f_##suffix, type, compared, 0x3f800000)
SET_BOTH(u16, uint32_t, compare_u16(x, y, insn->mode))
SET_BOTH(s16, uint32_t, compare_s16(x, y, insn->mode))
SET_BOTH(u32, uint32_t, compare_u32(x, y, insn->mode))
SET_BOTH(s32, uint32_t, compare_s32(x, y, insn->mode))
SET_BOTH(u64, uint64_t, compare_u64(x, y, insn->mode))
SET_BOTH(s64, uint64_t, compare_s64(x, y, insn->mode))
SET_BOTH(f32, float, compare_f32(x, y, insn->mode, insn->flags &TRCPU_HAS_FTZ))
SET_BOTH(f64, double, compare_f64(x, y, insn->mode))
SET(set_f16, uint32_t, compare_half(x, y, insn->mode, 0, TRCPU_F16, insn->flags &TRCPU_HAS_FTZ), 0x3c00)
SET(set_bf16, uint32_t, compare_half(x, y, insn->mode, 0, TRCPU_BF16, false), 0x3f80)
SET(set_i_f16, uint32_t, compare_half(x, y, insn->mode, 0, TRCPU_F16, insn->flags &TRCPU_HAS_FTZ), ~0u)
SET(set_i_bf16, uint32_t, compare_half(x, y, insn->mode, 0, TRCPU_BF16, false), ~0u)

#define SET_PAIR(name, format, one)                                                                          \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        uint32_t *d = ROW(uint32_t, 0);                                                                      \
        const uint32_t *x = ROW(uint32_t, 1), *y = ROW(uint32_t, 2);                                         \
        bool ftz = insn->flags & TRCPU_HAS_FTZ;                                                              \
        uint32_t how = insn->mode >> 5, c = how ? *PREDICATE(3) : 0;                                         \
        uint32_t low = combine(compare_half(x, y, insn->mode, 0, format, ftz), c, how);                      \
        uint32_t high = combine(compare_half(x, y, insn->mode, 16, format, ftz), c, how);                    \
        LANES d[l] = (low >> l & 1 ? (uint32_t)(one) : 0) | (high >> l & 1 ? (uint32_t)(one) << 16 : 0);     \
        return insn + 1;                                                                                     \
    }
SET_PAIR(set_f16x2, TRCPU_F16, 0x3c00)
SET_PAIR(set_bf16x2, TRCPU_BF16, 0x3f80)
SET_PAIR(set_i_f16x2, TRCPU_F16, 0xffff)
SET_PAIR(set_i_bf16x2, TRCPU_BF16, 0xffff)

#define SETP_FORMS(types, width, handler)                                                                    \
    {"setp." COMPARISONS "." types, "P=" width width, handler, 0, PURE}, {                                   \
        "setp." COMPARISONS ".?#and|or|xor." types, "P=" width width "p", handler, 0, PURE                   \
    }
#define SET_FORMS(destination, type, width, handler)                                                         \
    {"set." COMPARISONS ".?ftz." destination "." type, "w=" width width, handler, 0, PURE}, {                \
        "set." COMPARISONS ".?#and|or|xor.?ftz." destination "." type, "w=" width width "p", handler, 0,     \
            PURE                                                                                             \
    }
#define SET_HALF(destination, type, d, width, handler)                                                       \
    { "set." COMPARISONS ".?ftz." destination "." type, d "=" width width, handler, 0, PURE }

FORMS(compare){
    SETP_FORMS("b16|u16", "h", setp_u16),
    SETP_FORMS("s16", "h", setp_s16),
    SETP_FORMS("b32|u32", "w", setp_u32),
    SETP_FORMS("s32", "w", setp_s32),
    SETP_FORMS("b64|u64", "d", setp_u64),
    SETP_FORMS("s64", "d", setp_s64),
    SETP_FORMS("?ftz.f32", "w", setp_f32),
    SETP_FORMS("f64", "d", setp_f64),
    SETP_FORMS("?ftz.f16", "h", setp_f16),
    SETP_FORMS("bf16", "h", setp_bf16),
    SETP_FORMS("?ftz.f16x2", "w", setp_f16x2),
    SETP_FORMS("bf16x2", "w", setp_bf16x2),
    SET_FORMS("u32|s32|b32", "b16|u16", "h", set_i_u16),
    SET_FORMS("u32|s32|b32", "s16", "h", set_i_s16),
    SET_FORMS("u32|s32|b32", "b32|u32", "w", set_i_u32),
    SET_FORMS("u32|s32|b32", "s32", "w", set_i_s32),
    SET_FORMS("u32|s32|b32", "b64|u64", "d", set_i_u64),
    SET_FORMS("u32|s32|b32", "s64", "d", set_i_s64),
    SET_FORMS("u32|s32|b32", "f32", "w", set_i_f32),
    SET_FORMS("u32|s32|b32", "f64", "d", set_i_f64),
    SET_FORMS("f32", "b16|u16", "h", set_f_u16),
    SET_FORMS("f32", "s16", "h", set_f_s16),
    SET_FORMS("f32", "b32|u32", "w", set_f_u32),
    SET_FORMS("f32", "s32", "w", set_f_s32),
    SET_FORMS("f32", "b64|u64", "d", set_f_u64),
    SET_FORMS("f32", "s64", "d", set_f_s64),
    SET_FORMS("f32", "f32", "w", set_f_f32),
    SET_FORMS("f32", "f64", "d", set_f_f64),
    SET_HALF("f16", "f16", "h", "h", set_f16),
    SET_HALF("bf16", "bf16", "h", "h", set_bf16),
    SET_HALF("u32|s32", "f16", "w", "h", set_i_f16),
    SET_HALF("u32|s32", "bf16", "w", "h", set_i_bf16),
    SET_HALF("f16x2", "f16x2", "w", "w", set_f16x2),
    SET_HALF("bf16x2", "bf16x2", "w", "w", set_bf16x2),
    SET_HALF("u32|s32", "f16x2", "w", "w", set_i_f16x2),
    SET_HALF("u32|s32", "bf16x2", "w", "w", set_i_bf16x2),
    END_OF_FORMS,
};
