/* Logic, shifts, bit fields, permutations. */
#include "machine/lanes/lanes.h"

#define LOGIC(name, expression)                                                                              \
    BINARY(name##32, uint32_t, uint32_t, uint32_t, expression)                                               \
    BINARY(name##64, uint64_t, uint64_t, uint64_t, expression)                                               \
    HANDLER(name##_predicate) {                                                                              \
        uint32_t a = *PREDICATE(1), b = *PREDICATE(2);                                                       \
        set_predicate(PREDICATE(0), expression, mask);                                                       \
        return insn + 1;                                                                                     \
    }
LOGIC(and, a &b)
LOGIC(or, a | b)
LOGIC(xor, a ^ b)

UNARY(not16, uint32_t, uint32_t, (uint16_t)~a)
UNARY(not32, uint32_t, uint32_t, ~a)
UNARY(not64, uint64_t, uint64_t, ~a)
UNARY(cnot16, uint32_t, uint32_t, a == 0)
UNARY(cnot64, uint64_t, uint64_t, a == 0)
HANDLER(not_predicate) {
    set_predicate(PREDICATE(0), ~*PREDICATE(1), mask);
    return insn + 1;
}

/* Shifts by more than the width give what all bits shifted out leave. */
BINARY(shl16, uint32_t, uint32_t, uint32_t, b > 15 ? 0 : (uint16_t)(a << (b & 15)))
BINARY(shl32, uint32_t, uint32_t, uint32_t, b > 31 ? 0 : a << (b & 31))
BINARY(shl64, uint64_t, uint64_t, uint32_t, b > 63 ? 0 : a << (b & 63))
BINARY(shr_u16, uint32_t, uint32_t, uint32_t, b > 15 ? 0 : a >> (b & 15))
BINARY(shr_u32, uint32_t, uint32_t, uint32_t, b > 31 ? 0 : a >> (b & 31))
BINARY(shr_u64, uint64_t, uint64_t, uint32_t, b > 63 ? 0 : a >> (b & 63))
BINARY(shr_s16, uint32_t, uint32_t, uint32_t, (uint16_t)((int16_t)a >> (b > 15 ? 15 : b)))
BINARY(shr_s32, int32_t, int32_t, uint32_t, a >> (b > 31 ? 31 : b))
BINARY(shr_s64, int64_t, int64_t, uint32_t, a >> (b > 63 ? 63 : b))

#define FUNNEL(a, b) ((uint64_t)(b) << 32 | (a))
#define CLAMPED(c)   ((c) > 32 ? 32 : (c))
TERNARY(shf_l_wrap, uint32_t, uint32_t, uint32_t, uint32_t, (FUNNEL(a, b) << (c & 31)) >> 32)
TERNARY(shf_r_wrap, uint32_t, uint32_t, uint32_t, uint32_t, FUNNEL(a, b) >> (c & 31))
TERNARY(shf_l_clamp, uint32_t, uint32_t, uint32_t, uint32_t, (FUNNEL(a, b) << CLAMPED(c)) >> 32)
TERNARY(shf_r_clamp, uint32_t, uint32_t, uint32_t, uint32_t, FUNNEL(a, b) >> CLAMPED(c))

static inline uint32_t field_u32(uint32_t a, uint32_t at, uint32_t length) {
    at &= 255;
    length &= 255;
    uint32_t shifted = at > 31 ? 0 : a >> (at & 31);
    return length > 31 ? shifted : shifted & ((1u << (length & 31)) - 1);
}
static inline uint64_t field_u64(uint64_t a, uint32_t at, uint32_t length) {
    at &= 255;
    length &= 255;
    uint64_t shifted = at > 63 ? 0 : a >> (at & 63);
    return length > 63 ? shifted : shifted & ((1ull << (length & 63)) - 1);
}
/* Beyond the top bit the field goes on with the sign. */
static inline int32_t field_s32(int32_t a, uint32_t at, uint32_t length) {
    at &= 255;
    length &= 255;
    int32_t shifted = a >> (at > 31 ? 31 : at);
    uint32_t unused = length > 31 ? 0 : 32 - length;
    return length == 0 ? 0 : (int32_t)((uint32_t)shifted << (unused & 31)) >> (unused & 31);
}
static inline int64_t field_s64(int64_t a, uint32_t at, uint32_t length) {
    at &= 255;
    length &= 255;
    int64_t shifted = a >> (at > 63 ? 63 : at);
    uint32_t unused = length > 63 ? 0 : 64 - length;
    return length == 0 ? 0 : (int64_t)((uint64_t)shifted << (unused & 63)) >> (unused & 63);
}
TERNARY(bfe_u32, uint32_t, uint32_t, uint32_t, uint32_t, field_u32(a, b, c))
TERNARY(bfe_s32, int32_t, int32_t, uint32_t, uint32_t, field_s32(a, b, c))
TERNARY(bfe_u64, uint64_t, uint64_t, uint32_t, uint32_t, field_u64(a, b, c))
TERNARY(bfe_s64, int64_t, int64_t, uint32_t, uint32_t, field_s64(a, b, c))

#define INSERT(name, type, bits)                                                                             \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        type *d = ROW(type, 0);                                                                              \
        const type *a = ROW(type, 1), *b = ROW(type, 2);                                                     \
        const uint32_t *at = ROW(uint32_t, 3), *length = ROW(uint32_t, 4);                                   \
        LANES {                                                                                              \
            uint32_t p = at[l] & 255, n = length[l] & 255;                                                   \
            type ones = n > bits - 1 ? ~(type)0 : ((type)1 << (n & (bits - 1))) - 1;                         \
            type field = p > bits - 1 ? 0 : ones << (p & (bits - 1));                                        \
            d[l] = (b[l] & ~field) | ((a[l] << (p & (bits - 1))) & field);                                   \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    }
INSERT(bfi32, uint32_t, 32)
INSERT(bfi64, uint64_t, 64)

HANDLER(lop3) {
    (void)mask;
    uint32_t *d = ROW(uint32_t, 0);
    const uint32_t *as = ROW(uint32_t, 1), *bs = ROW(uint32_t, 2), *cs = ROW(uint32_t, 3);
    uint32_t t[8];
    for (int k = 0; k < 8; k++) t[k] = insn->imm >> k & 1 ? ~0u : 0;
    LANES {
        uint32_t a = as[l], b = bs[l], c = cs[l];
        uint32_t without = (~b & ~c & t[0]) | (~b & c & t[1]) | (b & ~c & t[2]) | (b & c & t[3]);
        uint32_t with = (~b & ~c & t[4]) | (~b & c & t[5]) | (b & ~c & t[6]) | (b & c & t[7]);
        d[l] = (~a & without) | (a & with);
    }
    return insn + 1;
}

static inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
    uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (uint32_t k = 0; k < 4; k++) {
        uint32_t pick = selector >> (4 * k);
        uint32_t byte = (uint32_t)(bytes >> (8 * (pick & 7))) & 0xff;
        uint32_t sign = byte & 0x80 ? 0xff : 0;
        result |= (pick & 8 ? sign : byte) << (8 * k);
    }
    return result;
}
TERNARY(prmt, uint32_t, uint32_t, uint32_t, uint32_t, permute(a, b, c))

/* The named modes of prmt are selectors that depend on the low bits of c. */
enum { F4E, B4E, RC8, ECL, ECR, RC16 };
static uint32_t selector_of(uint32_t mode, uint32_t c) {
    static const uint16_t table[6][4] = {{0x3210, 0x4321, 0x5432, 0x6543}, {0x5670, 0x6701, 0x7012, 0x0123},
                                         {0x0000, 0x1111, 0x2222, 0x3333}, {0x3210, 0x3211, 0x3222, 0x3333},
                                         {0x0000, 0x1110, 0x2210, 0x3210}, {0x1010, 0x3232, 0x1010, 0x3232}};
    return table[mode][c & 3];
}
TERNARY(prmt_named, uint32_t, uint32_t, uint32_t, uint32_t, permute(a, b, selector_of(insn->mode, c)))

static inline uint32_t reverse32(uint32_t v) {
    v = (v >> 1 & 0x55555555) | (v & 0x55555555) << 1;
    v = (v >> 2 & 0x33333333) | (v & 0x33333333) << 2;
    v = (v >> 4 & 0x0f0f0f0f) | (v & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(v);
}
UNARY(brev32, uint32_t, uint32_t, reverse32(a))
UNARY(brev64, uint64_t, uint64_t, (uint64_t)reverse32((uint32_t)a) << 32 | reverse32((uint32_t)(a >> 32)))
UNARY(popc32, uint32_t, uint32_t, __builtin_popcount(a))
UNARY(popc64, uint32_t, uint64_t, __builtin_popcountll(a))
UNARY(clz32, uint32_t, uint32_t, a ? __builtin_clz(a) : 32)
UNARY(clz64, uint32_t, uint64_t, a ? __builtin_clzll(a) : 64)
#define TOP32(v)            ((v) ? 31u - (uint32_t)__builtin_clz(v) : ~0u)
#define TOP64(v)            ((v) ? 63u - (uint32_t)__builtin_clzll(v) : ~0u)
#define SIGNLESS(v, T)      ((v) < 0 ? ~(T)(v) : (T)(v))
#define FROM_TOP(top, bits) ((top) == ~0u ? ~0u : bits - 1u - (top))
UNARY(bfind_u32, uint32_t, uint32_t, TOP32(a))
UNARY(bfind_s32, uint32_t, int32_t, TOP32(SIGNLESS(a, uint32_t)))
UNARY(bfind_u64, uint32_t, uint64_t, TOP64(a))
UNARY(bfind_s64, uint32_t, int64_t, TOP64(SIGNLESS(a, uint64_t)))
UNARY(bfind_shift_u32, uint32_t, uint32_t, FROM_TOP(TOP32(a), 32))
UNARY(bfind_shift_s32, uint32_t, int32_t, FROM_TOP(TOP32(SIGNLESS(a, uint32_t)), 32))
UNARY(bfind_shift_u64, uint32_t, uint64_t, FROM_TOP(TOP64(a), 64))
UNARY(bfind_shift_s64, uint32_t, int64_t, FROM_TOP(TOP64(SIGNLESS(a, uint64_t)), 64))

BINARY(bmsk_clamp, uint32_t, uint32_t, uint32_t,
       a > 31 ? 0 : (b > 31 ? ~0u : (1u << (b & 31)) - 1) << (a & 31))
BINARY(bmsk_wrap, uint32_t, uint32_t, uint32_t, ((1u << (b & 31)) - 1) << (a & 31))
BINARY(szext_u32, uint32_t, uint32_t, uint32_t, field_u32(a, 0, b > 32 ? 32 : b))
BINARY(szext_s32, int32_t, int32_t, uint32_t, field_s32(a, 0, b > 32 ? 32 : b))

/* The n-th set bit counted from `base`, upwards for n > 0, downwards for n < 0. */
static inline uint32_t nth_set(uint32_t value, uint32_t base, int32_t n) {
    if (base > 31) return ~0u;
    if (n == 0) return value >> base & 1 ? base : ~0u;
    int32_t step = n > 0 ? 1 : -1, left = n > 0 ? n : -n;
    for (int32_t at = (int32_t)base; at >= 0 && at < 32; at += step)
        if (value >> at & 1 && --left == 0) return (uint32_t)at;
    return ~0u;
}
TERNARY(fns, uint32_t, uint32_t, uint32_t, int32_t, nth_set(a, b, c))

FORMS(bits){
    {"and.b32", "w=ww", and32, 0, PURE},
    {"and.b64", "d=dd", and64, 0, PURE},
    {"and.b16", "h=hh", and32, 0, PURE},
    {"and.pred", "p=pp", and_predicate, 0, PURE},
    {"or.b32", "w=ww", or32, 0, PURE},
    {"or.b64", "d=dd", or64, 0, PURE},
    {"or.b16", "h=hh", or32, 0, PURE},
    {"or.pred", "p=pp", or_predicate, 0, PURE},
    {"xor.b32", "w=ww", xor32, 0, PURE},
    {"xor.b64", "d=dd", xor64, 0, PURE},
    {"xor.b16", "h=hh", xor32, 0, PURE},
    {"xor.pred", "p=pp", xor_predicate, 0, PURE},
    {"not.b16", "h=h", not16, 0, PURE},
    {"not.b32", "w=w", not32, 0, PURE},
    {"not.b64", "d=d", not64, 0, PURE},
    {"not.pred", "p=p", not_predicate, 0, PURE},
    {"cnot.b16", "h=h", cnot16, 0, PURE},
    {"cnot.b32", "w=w", cnot16, 0, PURE},
    {"cnot.b64", "d=d", cnot64, 0, PURE},
    {"shl.b16", "h=hw", shl16, 0, PURE},
    {"shl.b32", "w=ww", shl32, 0, PURE},
    {"shl.b64", "d=dw", shl64, 0, PURE},
    {"shr.u16|b16", "h=hw", shr_u16, 0, PURE},
    {"shr.u32|b32", "w=ww", shr_u32, 0, PURE},
    {"shr.u64|b64", "d=dw", shr_u64, 0, PURE},
    {"shr.s16", "h=hw", shr_s16, 0, PURE},
    {"shr.s32", "w=ww", shr_s32, 0, PURE},
    {"shr.s64", "d=dw", shr_s64, 0, PURE},
    {"shf.l.wrap.b32", "w=www", shf_l_wrap, 0, PURE},
    {"shf.r.wrap.b32", "w=www", shf_r_wrap, 0, PURE},
    {"shf.l.clamp.b32", "w=www", shf_l_clamp, 0, PURE},
    {"shf.r.clamp.b32", "w=www", shf_r_clamp, 0, PURE},
    {"bfe.u32", "w=www", bfe_u32, 0, PURE},
    {"bfe.s32", "w=www", bfe_s32, 0, PURE},
    {"bfe.u64", "d=dww", bfe_u64, 0, PURE},
    {"bfe.s64", "d=dww", bfe_s64, 0, PURE},
    {"bfi.b32", "w=wwww", bfi32, 0, PURE},
    {"bfi.b64", "d=ddww", bfi64, 0, PURE},
    {"lop3.b32", "w=www#", lop3, 0, PURE},
    {"prmt.b32", "w=www", prmt, 0, PURE},
    {"prmt.b32.f4e", "w=www", prmt_named, F4E, PURE},
    {"prmt.b32.b4e", "w=www", prmt_named, B4E, PURE},
    {"prmt.b32.rc8", "w=www", prmt_named, RC8, PURE},
    {"prmt.b32.ecl", "w=www", prmt_named, ECL, PURE},
    {"prmt.b32.ecr", "w=www", prmt_named, ECR, PURE},
    {"prmt.b32.rc16", "w=www", prmt_named, RC16, PURE},
    {"brev.b32", "w=w", brev32, 0, PURE},
    {"brev.b64", "d=d", brev64, 0, PURE},
    {"popc.b32", "w=w", popc32, 0, PURE},
    {"popc.b64", "w=d", popc64, 0, PURE},
    {"clz.b32", "w=w", clz32, 0, PURE},
    {"clz.b64", "w=d", clz64, 0, PURE},
    {"bfind.u32", "w=w", bfind_u32, 0, PURE},
    {"bfind.s32", "w=w", bfind_s32, 0, PURE},
    {"bfind.u64", "w=d", bfind_u64, 0, PURE},
    {"bfind.s64", "w=d", bfind_s64, 0, PURE},
    {"bfind.shiftamt.u32", "w=w", bfind_shift_u32, 0, PURE},
    {"bfind.shiftamt.s32", "w=w", bfind_shift_s32, 0, PURE},
    {"bfind.shiftamt.u64", "w=d", bfind_shift_u64, 0, PURE},
    {"bfind.shiftamt.s64", "w=d", bfind_shift_s64, 0, PURE},
    {"bmsk.clamp.b32", "w=ww", bmsk_clamp, 0, PURE},
    {"bmsk.wrap.b32", "w=ww", bmsk_wrap, 0, PURE},
    {"szext.clamp.u32", "w=ww", szext_u32, 0, PURE},
    {"szext.clamp.s32", "w=ww", szext_s32, 0, PURE},
    {"fns.b32", "w=www", fns, 0, PURE},
    END_OF_FORMS,
};
