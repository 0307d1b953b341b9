/* f32 arithmetic. */
#include "machine/lanes/lanes.h"

#include <float.h>

/* s + error, exactly known, to f32 in a directed rounding: nearest first, then a step where that went too far. */
static float round_directed(double s, double error, trcpu_rounding rounding) {
    float nearest = (float)s;
    if (rounding == TRCPU_ROUND_NEAREST || s != s || isinf(s)) return nearest;
    double below = s - (double)nearest;
    double rest = below != 0 ? below : error;
    bool down = rounding == TRCPU_ROUND_DOWN || (rounding == TRCPU_ROUND_ZERO && s > 0);
    if (down) return rest < 0 ? nextafterf(nearest, -INFINITY) : nearest;
    return rest > 0 ? nextafterf(nearest, INFINITY) : nearest;
}

/* What a + b in double leaves out. */
static double sum_error(double a, double b, double s) {
    double t = s - a;
    return (a - (s - t)) + (b - t);
}

static float directed_fma(float a, float b, float c, trcpu_rounding rounding) {
    double p = (double)a * b, s = p + c;
    if (s == 0 && p != -(double)c) return (float)s;
    if (s == 0 && p != 0) return rounding == TRCPU_ROUND_DOWN ? -0.0f : 0.0f;
    return round_directed(s, isfinite(s) ? sum_error(p, c, s) : 0, rounding);
}

static float directed_add(float a, float b, trcpu_rounding rounding) {
    double s = (double)a + b;
    if (s == 0 && (a != 0 || b != 0 || signbit(a) != signbit(b)))
        return rounding == TRCPU_ROUND_DOWN ? -0.0f : 0.0f;
    return round_directed(s, isfinite(s) ? sum_error(a, b, s) : 0, rounding);
}

static float directed_mul(float a, float b, trcpu_rounding rounding) {
    return round_directed((double)a * b, 0, rounding);
}

static float directed_div(float a, float b, trcpu_rounding rounding) {
    double q = (double)a / b;
    return round_directed(q, isfinite(q) && b != 0 && !isinf(b) ? fma(-q, b, a) / b : 0, rounding);
}

static float directed_sqrt(float a, trcpu_rounding rounding) {
    double q = sqrt((double)a);
    return round_directed(q, isfinite(q) ? fma(-q, q, a) : 0, rounding);
}

static inline float finish(float value, uint32_t flags) {
    value = canonical(value);
    value = flags & TRCPU_HAS_FTZ ? flush(value) : value;
    return flags & TRCPU_HAS_SAT ? saturate(value) : value;
}

static inline float input(float value, uint32_t flags) {
    return flags & TRCPU_HAS_FTZ ? flush(value) : value;
}

/* The plain form, and one for .ftz and .sat. */
#define FLOAT2(name, expression)                                                                             \
    BINARY(name, float, float, float, canonical(expression))                                                 \
    BINARY(name##_ftz, float, float, float, (a = flush(a), b = flush(b), flush(canonical(expression))))      \
    BINARY(name##_any, float, float, float,                                                                  \
           (a = input(a, insn->flags), b = input(b, insn->flags), finish(expression, insn->flags)))
#define FLOAT3(name, expression)                                                                             \
    TERNARY(name, float, float, float, float, canonical(expression))                                         \
    TERNARY(name##_ftz, float, float, float, float,                                                          \
            (a = flush(a), b = flush(b), c = flush(c), flush(canonical(expression))))                        \
    TERNARY(name##_any, float, float, float, float,                                                          \
            (a = input(a, insn->flags), b = input(b, insn->flags), c = input(c, insn->flags),                \
             finish(expression, insn->flags)))
#define FLOAT1(name, expression)                                                                             \
    UNARY(name, float, float, canonical(expression))                                                         \
    UNARY(name##_ftz, float, float, (a = flush(a), flush(canonical(expression))))                            \
    UNARY(name##_any, float, float, (a = input(a, insn->flags), finish(expression, insn->flags)))

FLOAT2(add, a + b)
FLOAT2(sub, a - b)
FLOAT2(mul, a *b)
FLOAT2(divide, a / b)
FLOAT3(fused, __builtin_fmaf(a, b, c))
FLOAT1(root, sqrtf(a))
FLOAT1(reciprocal, 1.0f / a)

/* mode: the rounding, as trcpu_rounding has it. */
BINARY(add_directed, float, float, float,
       finish(directed_add(input(a, insn->flags), input(b, insn->flags), insn->mode), insn->flags))
BINARY(sub_directed, float, float, float,
       finish(directed_add(input(a, insn->flags), -input(b, insn->flags), insn->mode), insn->flags))
BINARY(mul_directed, float, float, float,
       finish(directed_mul(input(a, insn->flags), input(b, insn->flags), insn->mode), insn->flags))
BINARY(div_directed, float, float, float,
       finish(directed_div(input(a, insn->flags), input(b, insn->flags), insn->mode), insn->flags))
UNARY(rcp_directed, float, float, finish(directed_div(1.0f, input(a, insn->flags), insn->mode), insn->flags))
UNARY(sqrt_directed, float, float, finish(directed_sqrt(input(a, insn->flags), insn->mode), insn->flags))
TERNARY(fma_directed, float, float, float, float,
        finish(directed_fma(input(a, insn->flags), input(b, insn->flags), input(c, insn->flags), insn->mode),
               insn->flags))

/* A NaN loses against a number, but with .NaN wins; -0 is below +0. */
static inline float lesser(float a, float b) {
    float equal = trcpu_float(trcpu_bits(a) | trcpu_bits(b));
    float r = a < b ? a : b;
    r = a == b ? equal : r;
    r = a != a ? b : r;
    return b != b ? a : r;
}
static inline float greater(float a, float b) {
    float equal = trcpu_float(trcpu_bits(a) & trcpu_bits(b));
    float r = a > b ? a : b;
    r = a == b ? equal : r;
    r = a != a ? b : r;
    return b != b ? a : r;
}
static inline float pick(float r, float a, float b, uint32_t flags) {
    if (flags & TRCPU_HAS_ABS)
        r = trcpu_float((trcpu_bits(r) & 0x7fffffff) | ((trcpu_bits(a) ^ trcpu_bits(b)) & 0x80000000));
    if (flags & TRCPU_HAS_NAN && (a != a || b != b)) r = trcpu_float(0x7fffffff);
    return canonical(r);
}
#define OPERAND(x) (insn->flags & TRCPU_HAS_ABS ? fabsf(input(x, insn->flags)) : input(x, insn->flags))
BINARY(min_f32, float, float, float, canonical(lesser(a, b)))
BINARY(max_f32, float, float, float, canonical(greater(a, b)))
BINARY(min_any, float, float, float, pick(lesser(OPERAND(a), OPERAND(b)), a, b, insn->flags))
BINARY(max_any, float, float, float, pick(greater(OPERAND(a), OPERAND(b)), a, b, insn->flags))
TERNARY(min3, float, float, float, float,
        pick(lesser(pick(lesser(OPERAND(a), OPERAND(b)), a, b, insn->flags), OPERAND(c)), a, c, insn->flags))
TERNARY(max3, float, float, float, float,
        pick(greater(pick(greater(OPERAND(a), OPERAND(b)), a, b, insn->flags), OPERAND(c)), a, c,
             insn->flags))

UNARY(neg, uint32_t, uint32_t, a ^ 0x80000000)
UNARY(neg_ftz, float, float, -flush(a))
UNARY(magnitude, uint32_t, uint32_t, a & 0x7fffffff)
UNARY(magnitude_ftz, float, float, fabsf(flush(a)))
BINARY(copysign_f32, uint32_t, uint32_t, uint32_t, (a & 0x80000000) | (b & 0x7fffffff))

enum { FINITE, INFINITE, NUMBER, NOT_A_NUMBER, NORMAL, SUBNORMAL };
HANDLER(testp) {
    const uint32_t *a = ROW(uint32_t, 1);
    uint32_t r = 0;
    for (uint32_t l = 0; l < 32; l++) {
        uint32_t m = a[l] & 0x7fffffff;
        bool is[] = {m<0x7f800000, m == 0x7f800000, m <= 0x7f800000, m> 0x7f800000,
                     m >= 0x800000 && m < 0x7f800000, m < 0x800000 && m};
        r |= (uint32_t)is[insn->mode] << l;
    }
    set_predicate(PREDICATE(0), r, mask);
    return insn + 1;
}

#define FLOAT_FORMS(pattern, operands, handler)                                                              \
    {pattern ".f32", operands, handler, 0, PURE}, {pattern ".ftz.f32", operands, handler##_ftz, 0, PURE}, {  \
        pattern ".?ftz.sat.f32", operands, handler##_any, 0, PURE                                            \
    }
/* "#": rn is 0, so the place is the rounding */
#define DIRECTED(base, operands, handler)                                                                    \
    { base ".#rn|rz|rm|rp.?ftz.?sat.f32", operands, handler, 0, PURE }

FORMS(float){
    FLOAT_FORMS("add.?rn", "w=ww", add),
    DIRECTED("add", "w=ww", add_directed),
    FLOAT_FORMS("sub.?rn", "w=ww", sub),
    DIRECTED("sub", "w=ww", sub_directed),
    FLOAT_FORMS("mul.?rn", "w=ww", mul),
    DIRECTED("mul", "w=ww", mul_directed),
    FLOAT_FORMS("fma.rn", "w=www", fused),
    FLOAT_FORMS("mad.rn", "w=www", fused),
    DIRECTED("fma", "w=www", fma_directed),
    DIRECTED("mad", "w=www", fma_directed),
    FLOAT_FORMS("div.rn|full|approx", "w=ww", divide),
    DIRECTED("div", "w=ww", div_directed),
    FLOAT_FORMS("sqrt.rn|approx", "w=w", root),
    DIRECTED("sqrt", "w=w", sqrt_directed),
    FLOAT_FORMS("rcp.rn|approx", "w=w", reciprocal),
    DIRECTED("rcp", "w=w", rcp_directed),
    {"min.f32", "w=ww", min_f32, 0, PURE},
    {"max.f32", "w=ww", max_f32, 0, PURE},
    {"min.?ftz.?NaN.?xorsign.?abs.f32", "w=ww", min_any, 0, PURE},
    {"max.?ftz.?NaN.?xorsign.?abs.f32", "w=ww", max_any, 0, PURE},
    {"min.?ftz.?NaN.?abs.f32", "w=www", min3, 0, PURE},
    {"max.?ftz.?NaN.?abs.f32", "w=www", max3, 0, PURE},
    {"neg.f32", "w=w", neg, 0, PURE},
    {"neg.ftz.f32", "w=w", neg_ftz, 0, PURE},
    {"abs.f32", "w=w", magnitude, 0, PURE},
    {"abs.ftz.f32", "w=w", magnitude_ftz, 0, PURE},
    {"copysign.f32", "w=ww", copysign_f32, 0, PURE},
    {"testp.#finite|infinite|number|notanumber|normal|subnormal.f32", "p=w", testp, 0, PURE},
    END_OF_FORMS,
};
