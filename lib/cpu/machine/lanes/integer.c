/* Integer arithmetic. 16-bit values lie zero-extended in 32-bit lanes. */
#include "machine/lanes/lanes.h"

#define BINARY_EACH(name, expression16, expression32, expression64)                                          \
    BINARY(name##16, uint32_t, uint32_t, uint32_t, (uint16_t)(expression16))                                 \
    BINARY(name##32, uint32_t, uint32_t, uint32_t, expression32)                                             \
    BINARY(name##64, uint64_t, uint64_t, uint64_t, expression64)

BINARY_EACH(add_u, a + b, a + b, a + b)
BINARY_EACH(sub_u, a - b, a - b, a - b)
BINARY_EACH(mul_u, a *b, a *b, a *b)

static inline int32_t clamp_s32(int64_t v) {
    return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
}
BINARY(add_sat_s32, uint32_t, int32_t, int32_t, clamp_s32((int64_t)a + b))
BINARY(sub_sat_s32, uint32_t, int32_t, int32_t, clamp_s32((int64_t)a - b))
TERNARY(mad_hi_sat_s32, uint32_t, int32_t, int32_t, int32_t, clamp_s32((((int64_t)a * b) >> 32) + c))

/* Division by zero is all ones, as the hardware gives; the most negative by -1 is itself. */
#define DIVIDE(bits)                                                                                         \
    static inline uint##bits##_t divide_s##bits(int##bits##_t a, int##bits##_t b) {                          \
        return b == 0    ? (uint##bits##_t) - 1                                                              \
               : b == -1 ? (uint##bits##_t)0 - (uint##bits##_t)a                                             \
                         : (uint##bits##_t)(a / b);                                                          \
    }                                                                                                        \
    static inline uint##bits##_t remain_s##bits(int##bits##_t a, int##bits##_t b) {                          \
        return b == 0 ? (uint##bits##_t)a : b == -1 ? 0 : (uint##bits##_t)(a % b);                           \
    }
DIVIDE(16)
DIVIDE(64)
BINARY(div_s16, uint32_t, uint32_t, uint32_t, divide_s16((int16_t)a, (int16_t)b))
BINARY(rem_s16, uint32_t, uint32_t, uint32_t, remain_s16((int16_t)a, (int16_t)b))
BINARY(div_u16, uint32_t, uint32_t, uint32_t, (uint16_t)(b ? a / b : 0xffff))
BINARY(rem_u16, uint32_t, uint32_t, uint32_t, b ? a % b : a)
BINARY(div_s64, uint64_t, int64_t, int64_t, divide_s64(a, b))
BINARY(rem_s64, uint64_t, int64_t, int64_t, remain_s64(a, b))
BINARY(div_u64, uint64_t, uint64_t, uint64_t, b ? a / b : ~0ull)
BINARY(rem_u64, uint64_t, uint64_t, uint64_t, b ? a % b : a)
/* 32 bits through double, which vectorises and is exact for quotients below 2^53. */
BINARY(div_s32, uint32_t, int32_t, int32_t, b == 0 ? ~0u : (uint32_t)(int64_t)((double)a / (double)b))
BINARY(rem_s32, uint32_t, int32_t, int32_t,
       b == 0 ? (uint32_t)a : (uint32_t)a - (uint32_t)(int64_t)((double)a / (double)b) * (uint32_t)b)
BINARY(div_u32, uint32_t, uint32_t, uint32_t, b == 0 ? ~0u : (uint32_t)(int64_t)((double)a / (double)b))
BINARY(rem_u32, uint32_t, uint32_t, uint32_t, b == 0 ? a : a - (uint32_t)(int64_t)((double)a / (double)b) * b)

__extension__ typedef unsigned __int128 wide_u;
__extension__ typedef __int128 wide_s;
static inline uint64_t high_u64(uint64_t a, uint64_t b) {
    return (uint64_t)(((wide_u)a * b) >> 64);
}
static inline uint64_t high_s64(int64_t a, int64_t b) {
    return (uint64_t)(((wide_s)a * b) >> 64);
}
BINARY(mul_hi_u16, uint32_t, uint32_t, uint32_t, (a * b) >> 16)
BINARY(mul_hi_s16, uint32_t, uint32_t, uint32_t, (uint16_t)(((int16_t)a * (int16_t)b) >> 16))
BINARY(mul_hi_u32, uint32_t, uint32_t, uint32_t, ((uint64_t)a * b) >> 32)
BINARY(mul_hi_s32, uint32_t, int32_t, int32_t, ((int64_t)a * b) >> 32)
BINARY(mul_hi_u64, uint64_t, uint64_t, uint64_t, high_u64(a, b))
BINARY(mul_hi_s64, uint64_t, int64_t, int64_t, high_s64(a, b))
BINARY(mul_wide_u16, uint32_t, uint32_t, uint32_t, a *b)
BINARY(mul_wide_s16, uint32_t, uint32_t, uint32_t, (int16_t)a *(int16_t)b)
BINARY(mul_wide_u32, uint64_t, uint32_t, uint32_t, (uint64_t)a *b)
BINARY(mul_wide_s32, uint64_t, int32_t, int32_t, (int64_t)a *b)

TERNARY(mad_lo16, uint32_t, uint32_t, uint32_t, uint32_t, (uint16_t)(a *b + c))
TERNARY(mad_lo32, uint32_t, uint32_t, uint32_t, uint32_t, a *b + c)
TERNARY(mad_lo64, uint64_t, uint64_t, uint64_t, uint64_t, a *b + c)
TERNARY(mad_hi_u32, uint32_t, uint32_t, uint32_t, uint32_t, (uint32_t)(((uint64_t)a * b) >> 32) + c)
TERNARY(mad_hi_s32, uint32_t, int32_t, int32_t, uint32_t, (uint32_t)(((int64_t)a * b) >> 32) + c)
TERNARY(mad_hi_u64, uint64_t, uint64_t, uint64_t, uint64_t, high_u64(a, b) + c)
TERNARY(mad_hi_s64, uint64_t, int64_t, int64_t, uint64_t, high_s64(a, b) + c)
TERNARY(mad_wide_u16, uint32_t, uint32_t, uint32_t, uint32_t, a *b + c)
TERNARY(mad_wide_s16, uint32_t, uint32_t, uint32_t, uint32_t, (uint32_t)((int16_t)a *(int16_t)b) + c)
TERNARY(mad_wide_u32, uint64_t, uint32_t, uint32_t, uint64_t, (uint64_t)a *b + c)
TERNARY(mad_wide_s32, uint64_t, int32_t, int32_t, uint64_t, (uint64_t)((int64_t)a *b) + c)
#define LOW24(x) ((int32_t)((uint32_t)(x) << 8) >> 8)
BINARY(mul24_lo_u32, uint32_t, uint32_t, uint32_t, (a & 0xffffff) * (b & 0xffffff))
BINARY(mul24_lo_s32, uint32_t, int32_t, int32_t, (uint32_t)((int64_t)LOW24(a) * LOW24(b)))
BINARY(mul24_hi_u32, uint32_t, uint32_t, uint32_t, ((uint64_t)(a & 0xffffff) * (b & 0xffffff)) >> 16)
BINARY(mul24_hi_s32, uint32_t, int32_t, int32_t, ((int64_t)LOW24(a) * LOW24(b)) >> 16)
TERNARY(mad24_lo_u32, uint32_t, uint32_t, uint32_t, uint32_t, (a & 0xffffff) * (b & 0xffffff) + c)
TERNARY(mad24_lo_s32, uint32_t, int32_t, int32_t, uint32_t, (uint32_t)((int64_t)LOW24(a) * LOW24(b)) + c)

BINARY(min_s16, uint32_t, uint32_t, uint32_t, (int16_t)a < (int16_t)b ? a : b)
BINARY(max_s16, uint32_t, uint32_t, uint32_t, (int16_t)a > (int16_t)b ? a : b)
BINARY(min_s32, int32_t, int32_t, int32_t, a < b ? a : b)
BINARY(max_s32, int32_t, int32_t, int32_t, a > b ? a : b)
BINARY(min_u32, uint32_t, uint32_t, uint32_t, a < b ? a : b)
BINARY(max_u32, uint32_t, uint32_t, uint32_t, a > b ? a : b)
BINARY(min_s64, int64_t, int64_t, int64_t, a < b ? a : b)
BINARY(max_s64, int64_t, int64_t, int64_t, a > b ? a : b)
BINARY(min_u64, uint64_t, uint64_t, uint64_t, a < b ? a : b)
BINARY(max_u64, uint64_t, uint64_t, uint64_t, a > b ? a : b)
BINARY(min_relu_s32, int32_t, int32_t, int32_t, (a < b ? a : b) < 0 ? 0 : (a < b ? a : b))
BINARY(max_relu_s32, int32_t, int32_t, int32_t, (a > b ? a : b) < 0 ? 0 : (a > b ? a : b))
#define LOW_S(x)      ((int16_t)(x))
#define HIGH_S(x)     ((int16_t)((x) >> 16))
#define PACK(lo, hi)  ((uint32_t)(uint16_t)(lo) | (uint32_t)(uint16_t)(hi) << 16)
#define LESSER(x, y)  ((x) < (y) ? (x) : (y))
#define GREATER(x, y) ((x) > (y) ? (x) : (y))
BINARY(add_u16x2, uint32_t, uint32_t, uint32_t, PACK(a + b, (a >> 16) + (b >> 16)))
BINARY(min_u16x2, uint32_t, uint32_t, uint32_t,
       PACK(LESSER((uint16_t)a, (uint16_t)b), LESSER(a >> 16, b >> 16)))
BINARY(max_u16x2, uint32_t, uint32_t, uint32_t,
       PACK(GREATER((uint16_t)a, (uint16_t)b), GREATER(a >> 16, b >> 16)))
BINARY(min_s16x2, uint32_t, uint32_t, uint32_t,
       PACK(LESSER(LOW_S(a), LOW_S(b)), LESSER(HIGH_S(a), HIGH_S(b))))
BINARY(max_s16x2, uint32_t, uint32_t, uint32_t,
       PACK(GREATER(LOW_S(a), LOW_S(b)), GREATER(HIGH_S(a), HIGH_S(b))))

UNARY(neg16, uint32_t, uint32_t, (uint16_t)(0 - a))
UNARY(neg32, uint32_t, uint32_t, 0 - a)
UNARY(neg64, uint64_t, uint64_t, 0 - a)
UNARY(abs16, uint32_t, uint32_t, (uint16_t)((int16_t)a < 0 ? 0 - a : a))
UNARY(abs32, uint32_t, uint32_t, (int32_t)a < 0 ? 0 - a : a)
UNARY(abs64, uint64_t, uint64_t, (int64_t)a < 0 ? 0 - a : a)

TERNARY(sad_u16, uint32_t, uint32_t, uint32_t, uint32_t, (uint16_t)(c + (a < b ? b - a : a - b)))
TERNARY(sad_u32, uint32_t, uint32_t, uint32_t, uint32_t, c + (a < b ? b - a : a - b))
TERNARY(sad_s32, uint32_t, int32_t, int32_t, uint32_t,
        c + (a < b ? (uint32_t)b - (uint32_t)a : (uint32_t)a - (uint32_t)b))
TERNARY(sad_u64, uint64_t, uint64_t, uint64_t, uint64_t, c + (a < b ? b - a : a - b))
TERNARY(sad_s64, uint64_t, int64_t, int64_t, uint64_t,
        c + (a < b ? (uint64_t)b - (uint64_t)a : (uint64_t)a - (uint64_t)b))

static inline uint32_t byte_u(uint32_t v, uint32_t k) {
    return v >> (8 * k) & 0xff;
}
static inline int32_t byte_s(uint32_t v, uint32_t k) {
    return (int8_t)(v >> (8 * k));
}
#define DOT4(name, fa, fb)                                                                                   \
    TERNARY(name, uint32_t, uint32_t, uint32_t, uint32_t,                                                    \
            c + (uint32_t)(fa(a, 0) * fb(b, 0)) + (uint32_t)(fa(a, 1) * fb(b, 1)) +                          \
                (uint32_t)(fa(a, 2) * fb(b, 2)) + (uint32_t)(fa(a, 3) * fb(b, 3)))
#define IBYTE_U(v, k) ((int32_t)byte_u(v, k))
DOT4(dp4a_uu, IBYTE_U, IBYTE_U)
DOT4(dp4a_us, IBYTE_U, byte_s)
DOT4(dp4a_su, byte_s, IBYTE_U)
DOT4(dp4a_ss, byte_s, byte_s)
#define DOT2(name, A16, B8, shift)                                                                           \
    TERNARY(name, uint32_t, uint32_t, uint32_t, uint32_t,                                                    \
            c + (uint32_t)((A16)a * B8(b, shift)) + (uint32_t)((A16)(a >> 16) * B8(b, shift + 1)))
DOT2(dp2a_lo_uu, uint16_t, IBYTE_U, 0)
DOT2(dp2a_lo_us, uint16_t, byte_s, 0)
DOT2(dp2a_lo_su, int16_t, IBYTE_U, 0)
DOT2(dp2a_lo_ss, int16_t, byte_s, 0)
DOT2(dp2a_hi_uu, uint16_t, IBYTE_U, 2)
DOT2(dp2a_hi_us, uint16_t, byte_s, 2)
DOT2(dp2a_hi_su, int16_t, IBYTE_U, 2)
DOT2(dp2a_hi_ss, int16_t, byte_s, 2)

/* ---- with carry: one bit a lane ---- */
enum { SETS = 1, USES = 2 };

#define CARRYING(name, type, k_c, product)                                                                   \
    HANDLER(name) {                                                                                          \
        type *d = ROW(type, 0);                                                                              \
        const type *x = ROW(type, 1), *y = ROW(type, 2), *z = ROW(type, k_c);                                \
        uint32_t in = insn->mode & USES ? warp->carry : 0, out = 0;                                          \
        (void)y;                                                                                             \
        ACTIVE_LANES {                                                                                       \
            type left = product, right = z[l], sum = left + right, all = sum + (in >> l & 1);                \
            out |= (uint32_t)(sum < left || all < sum) << l;                                                 \
            d[l] = all;                                                                                      \
        }                                                                                                    \
        if (insn->mode & SETS) warp->carry = (warp->carry & ~mask) | out;                                    \
        return insn + 1;                                                                                     \
    }
CARRYING(addc32, uint32_t, 2, x[l])
CARRYING(addc64, uint64_t, 2, x[l])
CARRYING(madc_lo32, uint32_t, 3, x[l] * y[l])
CARRYING(madc_lo64, uint64_t, 3, x[l] * y[l])
CARRYING(madc_hi_u32, uint32_t, 3, (uint32_t)(((uint64_t)x[l] * y[l]) >> 32))
CARRYING(madc_hi_s32, uint32_t, 3, (uint32_t)(((int64_t)(int32_t)x[l] * (int32_t)y[l]) >> 32))
CARRYING(madc_hi_u64, uint64_t, 3, high_u64(x[l], y[l]))
CARRYING(madc_hi_s64, uint64_t, 3, high_s64((int64_t)x[l], (int64_t)y[l]))

#define BORROWING(name, type)                                                                                \
    HANDLER(name) {                                                                                          \
        type *d = ROW(type, 0);                                                                              \
        const type *x = ROW(type, 1), *y = ROW(type, 2);                                                     \
        uint32_t in = insn->mode & USES ? warp->carry : 0, out = 0;                                          \
        ACTIVE_LANES {                                                                                       \
            type left = x[l], right = y[l], borrow = in >> l & 1;                                            \
            out |= (uint32_t)(left < right || left - right < borrow) << l;                                   \
            d[l] = left - right - borrow;                                                                    \
        }                                                                                                    \
        if (insn->mode & SETS) warp->carry = (warp->carry & ~mask) | out;                                    \
        return insn + 1;                                                                                     \
    }
BORROWING(subc32, uint32_t)
BORROWING(subc64, uint64_t)

#define CARRY_FORMS(base, chained, middle, types32, types64, operands32, operands64, handler32, handler64)   \
    {base middle ".cc." types32, operands32, handler32, SETS, 0},                                            \
        {chained middle ".cc." types32, operands32, handler32, SETS | USES, 0},                              \
        {chained middle "." types32, operands32, handler32, USES, 0},                                        \
        {base middle ".cc." types64, operands64, handler64, SETS, 0},                                        \
        {chained middle ".cc." types64, operands64, handler64, SETS | USES, 0}, {                            \
        chained middle "." types64, operands64, handler64, USES, 0                                           \
    }

FORMS(integer){
    {"add.s32|u32|b32", "w=ww", add_u32, 0, PURE},
    {"add.s64|u64|b64", "d=dd", add_u64, 0, PURE},
    {"add.s16|u16|b16", "h=hh", add_u16, 0, PURE},
    {"add.u16x2|s16x2", "w=ww", add_u16x2, 0, PURE},
    {"add.sat.s32", "w=ww", add_sat_s32, 0, PURE},
    {"sub.s32|u32", "w=ww", sub_u32, 0, PURE},
    {"sub.s64|u64", "d=dd", sub_u64, 0, PURE},
    {"sub.s16|u16", "h=hh", sub_u16, 0, PURE},
    {"sub.sat.s32", "w=ww", sub_sat_s32, 0, PURE},
    {"mul.lo.s32|u32|b32", "w=ww", mul_u32, 0, PURE},
    {"mul.lo.s64|u64|b64", "d=dd", mul_u64, 0, PURE},
    {"mul.lo.s16|u16|b16", "h=hh", mul_u16, 0, PURE},
    {"mul.hi.u16", "h=hh", mul_hi_u16, 0, PURE},
    {"mul.hi.s16", "h=hh", mul_hi_s16, 0, PURE},
    {"mul.hi.u32", "w=ww", mul_hi_u32, 0, PURE},
    {"mul.hi.s32", "w=ww", mul_hi_s32, 0, PURE},
    {"mul.hi.u64", "d=dd", mul_hi_u64, 0, PURE},
    {"mul.hi.s64", "d=dd", mul_hi_s64, 0, PURE},
    {"mul.wide.u16", "w=hh", mul_wide_u16, 0, PURE},
    {"mul.wide.s16", "w=hh", mul_wide_s16, 0, PURE},
    {"mul.wide.u32", "d=ww", mul_wide_u32, 0, PURE},
    {"mul.wide.s32", "d=ww", mul_wide_s32, 0, PURE},
    {"mad.lo.s16|u16", "h=hhh", mad_lo16, 0, PURE},
    {"mad.lo.s32|u32|b32", "w=www", mad_lo32, 0, PURE},
    {"mad.lo.s64|u64|b64", "d=ddd", mad_lo64, 0, PURE},
    {"mad.hi.u32", "w=www", mad_hi_u32, 0, PURE},
    {"mad.hi.s32", "w=www", mad_hi_s32, 0, PURE},
    {"mad.hi.sat.s32", "w=www", mad_hi_sat_s32, 0, PURE},
    {"mad.hi.u64", "d=ddd", mad_hi_u64, 0, PURE},
    {"mad.hi.s64", "d=ddd", mad_hi_s64, 0, PURE},
    {"mad.wide.u16", "w=hhw", mad_wide_u16, 0, PURE},
    {"mad.wide.s16", "w=hhw", mad_wide_s16, 0, PURE},
    {"mad.wide.u32", "d=wwd", mad_wide_u32, 0, PURE},
    {"mad.wide.s32", "d=wwd", mad_wide_s32, 0, PURE},
    {"mul24.lo.u32", "w=ww", mul24_lo_u32, 0, PURE},
    {"mul24.lo.s32", "w=ww", mul24_lo_s32, 0, PURE},
    {"mul24.hi.u32", "w=ww", mul24_hi_u32, 0, PURE},
    {"mul24.hi.s32", "w=ww", mul24_hi_s32, 0, PURE},
    {"mad24.lo.u32", "w=www", mad24_lo_u32, 0, PURE},
    {"mad24.lo.s32", "w=www", mad24_lo_s32, 0, PURE},
    {"div.s16", "h=hh", div_s16, 0, PURE},
    {"div.u16", "h=hh", div_u16, 0, PURE},
    {"div.s32", "w=ww", div_s32, 0, PURE},
    {"div.u32", "w=ww", div_u32, 0, PURE},
    {"div.s64", "d=dd", div_s64, 0, PURE},
    {"div.u64", "d=dd", div_u64, 0, PURE},
    {"rem.s16", "h=hh", rem_s16, 0, PURE},
    {"rem.u16", "h=hh", rem_u16, 0, PURE},
    {"rem.s32", "w=ww", rem_s32, 0, PURE},
    {"rem.u32", "w=ww", rem_u32, 0, PURE},
    {"rem.s64", "d=dd", rem_s64, 0, PURE},
    {"rem.u64", "d=dd", rem_u64, 0, PURE},
    {"min.s16", "h=hh", min_s16, 0, PURE},
    {"max.s16", "h=hh", max_s16, 0, PURE},
    {"min.u16", "h=hh", min_u32, 0, PURE},
    {"max.u16", "h=hh", max_u32, 0, PURE},
    {"min.s32", "w=ww", min_s32, 0, PURE},
    {"max.s32", "w=ww", max_s32, 0, PURE},
    {"min.relu.s32", "w=ww", min_relu_s32, 0, PURE},
    {"max.relu.s32", "w=ww", max_relu_s32, 0, PURE},
    {"min.u32", "w=ww", min_u32, 0, PURE},
    {"max.u32", "w=ww", max_u32, 0, PURE},
    {"min.s64", "d=dd", min_s64, 0, PURE},
    {"max.s64", "d=dd", max_s64, 0, PURE},
    {"min.u64", "d=dd", min_u64, 0, PURE},
    {"max.u64", "d=dd", max_u64, 0, PURE},
    {"min.u16x2", "w=ww", min_u16x2, 0, PURE},
    {"max.u16x2", "w=ww", max_u16x2, 0, PURE},
    {"min.s16x2", "w=ww", min_s16x2, 0, PURE},
    {"max.s16x2", "w=ww", max_s16x2, 0, PURE},
    {"neg.s16", "h=h", neg16, 0, PURE},
    {"neg.s32", "w=w", neg32, 0, PURE},
    {"neg.s64", "d=d", neg64, 0, PURE},
    {"abs.s16", "h=h", abs16, 0, PURE},
    {"abs.s32", "w=w", abs32, 0, PURE},
    {"abs.s64", "d=d", abs64, 0, PURE},
    {"sad.u16", "h=hhh", sad_u16, 0, PURE},
    {"sad.u32", "w=www", sad_u32, 0, PURE},
    {"sad.s32", "w=www", sad_s32, 0, PURE},
    {"sad.u64", "d=ddd", sad_u64, 0, PURE},
    {"sad.s64", "d=ddd", sad_s64, 0, PURE},
    {"dp4a.u32.u32", "w=www", dp4a_uu, 0, PURE},
    {"dp4a.u32.s32", "w=www", dp4a_us, 0, PURE},
    {"dp4a.s32.u32", "w=www", dp4a_su, 0, PURE},
    {"dp4a.s32.s32", "w=www", dp4a_ss, 0, PURE},
    {"dp2a.lo.u32.u32", "w=www", dp2a_lo_uu, 0, PURE},
    {"dp2a.lo.u32.s32", "w=www", dp2a_lo_us, 0, PURE},
    {"dp2a.lo.s32.u32", "w=www", dp2a_lo_su, 0, PURE},
    {"dp2a.lo.s32.s32", "w=www", dp2a_lo_ss, 0, PURE},
    {"dp2a.hi.u32.u32", "w=www", dp2a_hi_uu, 0, PURE},
    {"dp2a.hi.u32.s32", "w=www", dp2a_hi_us, 0, PURE},
    {"dp2a.hi.s32.u32", "w=www", dp2a_hi_su, 0, PURE},
    {"dp2a.hi.s32.s32", "w=www", dp2a_hi_ss, 0, PURE},
    CARRY_FORMS("add", "addc", "", "s32|u32", "s64|u64", "w=ww", "d=dd", addc32, addc64),
    CARRY_FORMS("sub", "subc", "", "s32|u32", "s64|u64", "w=ww", "d=dd", subc32, subc64),
    CARRY_FORMS("mad", "madc", ".lo", "s32|u32", "s64|u64", "w=www", "d=ddd", madc_lo32, madc_lo64),
    CARRY_FORMS("mad", "madc", ".hi", "u32", "u64", "w=www", "d=ddd", madc_hi_u32, madc_hi_u64),
    CARRY_FORMS("mad", "madc", ".hi", "s32", "s64", "w=www", "d=ddd", madc_hi_s32, madc_hi_s64),
    END_OF_FORMS,
};
