/* f16, bf16 and pairs of them: computed wide enough that rounding to the format is the only rounding. */
#include "machine/lanes/lanes.h"

static inline float narrow_in(uint32_t bits, trcpu_format format, uint32_t flags) {
    float v = trcpu_widen(bits & 0xffff, format);
    if (format == TRCPU_F16 && flags & TRCPU_HAS_FTZ && fabsf(v) < 6.103515625e-05f) v = copysignf(0, v);
    return v;
}

static inline uint32_t narrow_out(uint32_t bits, trcpu_format format, uint32_t flags) {
    if (format == TRCPU_F16 && flags & TRCPU_HAS_FTZ && !(bits & 0x7c00)) bits &= 0x8000;
    uint32_t infinity = format == TRCPU_F16 ? 0x7c00 : 0x7f80, one = format == TRCPU_F16 ? 0x3c00 : 0x3f80;
    bool nan = (bits & 0x7fff) > infinity, negative = bits >> 15 & 1;
    if (flags & TRCPU_HAS_SAT) bits = nan || negative ? 0 : bits > one ? one : bits;
    if (flags & TRCPU_HAS_RELU) bits = nan ? bits : negative ? 0 : bits;
    return bits;
}

static inline uint32_t from_float(float v, trcpu_format format, uint32_t flags) {
    return narrow_out(trcpu_narrow(v, format, TRCPU_ROUND_NEAREST, 0), format, flags);
}

/* a·b is exact in double; what the sum leaves out makes it odd, so that narrowing rounds once. */
static inline uint32_t fused_half(float a, float b, float c, trcpu_format format, uint32_t flags) {
    double p = (double)a * b, s = p + c, t = s - p, error = (p - (s - t)) + (c - t);
    int64_t bits;
    memcpy(&bits, &s, sizeof bits);
    if (error != 0 && error == error && !(bits & 1)) bits += (error > 0) == (s > 0) ? 1 : -1;
    memcpy(&s, &bits, sizeof s);
    return narrow_out(trcpu_narrow_double(s, format, TRCPU_ROUND_NEAREST, 0), format, flags);
}

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
static inline float extreme(float a, float b, bool greatest, uint32_t flags) {
    float x = flags & TRCPU_HAS_ABS ? fabsf(a) : a, y = flags & TRCPU_HAS_ABS ? fabsf(b) : b;
    float r = greatest ? greater(x, y) : lesser(x, y);
    if (flags & TRCPU_HAS_ABS) r = copysignf(r, trcpu_float((trcpu_bits(a) ^ trcpu_bits(b)) & 0x80000000));
    return flags & TRCPU_HAS_NAN && (a != a || b != b) ? trcpu_float(0x7fffffff) : r;
}

/* The four formats of an operation on floats x, y, z; `plain` skips what no flag asks for. */
#define IN(v, format)                    narrow_in(v, format, flags)
#define ONE2(format, operation, a, b)    operation(format, IN(a, format), IN(b, format))
#define ONE3(format, operation, a, b, c) operation(format, IN(a, format), IN(b, format), IN(c, format))
#define LOOPED(handler, loop)                                                                                \
    HANDLER(handler) {                                                                                       \
        (void)mask;                                                                                          \
        uint32_t *d = ROW(uint32_t, 0);                                                                      \
        const uint32_t *a = ROW(uint32_t, 1), *b = ROW(uint32_t, 2), *c = ROW(uint32_t, 3);                  \
        (void)c;                                                                                             \
        const uint32_t wanted =                                                                              \
            insn->flags & (TRCPU_HAS_FTZ | TRCPU_HAS_SAT | TRCPU_HAS_RELU | TRCPU_HAS_NAN | TRCPU_HAS_ABS);  \
        if (wanted == 0) {                                                                                   \
            const uint32_t flags = 0;                                                                        \
            LANES d[l] = loop;                                                                               \
        } else {                                                                                             \
            const uint32_t flags = wanted;                                                                   \
            LANES d[l] = loop;                                                                               \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    }
#define HALF2(name, operation)                                                                               \
    LOOPED(name##_f16, ONE2(TRCPU_F16, operation, a[l], b[l]))                                               \
    LOOPED(name##_bf16, ONE2(TRCPU_BF16, operation, a[l], b[l]))                                             \
    LOOPED(name##_f16x2, ONE2(TRCPU_F16, operation, a[l], b[l]) |                                            \
                             ONE2(TRCPU_F16, operation, a[l] >> 16, b[l] >> 16) << 16)                       \
    LOOPED(name##_bf16x2, ONE2(TRCPU_BF16, operation, a[l], b[l]) |                                          \
                              ONE2(TRCPU_BF16, operation, a[l] >> 16, b[l] >> 16) << 16)
#define HALF3(name, operation)                                                                               \
    LOOPED(name##_f16, ONE3(TRCPU_F16, operation, a[l], b[l], c[l]))                                         \
    LOOPED(name##_bf16, ONE3(TRCPU_BF16, operation, a[l], b[l], c[l]))                                       \
    LOOPED(name##_f16x2, ONE3(TRCPU_F16, operation, a[l], b[l], c[l]) |                                      \
                             ONE3(TRCPU_F16, operation, a[l] >> 16, b[l] >> 16, c[l] >> 16) << 16)           \
    LOOPED(name##_bf16x2, ONE3(TRCPU_BF16, operation, a[l], b[l], c[l]) |                                    \
                              ONE3(TRCPU_BF16, operation, a[l] >> 16, b[l] >> 16, c[l] >> 16) << 16)

#define ADD(format, x, y)    from_float((x) + (y), format, flags)
#define SUB(format, x, y)    from_float((x) - (y), format, flags)
#define MUL(format, x, y)    from_float((x) * (y), format, flags)
#define MIN(format, x, y)    from_float(extreme(x, y, false, flags), format, flags & ~(uint32_t)TRCPU_HAS_RELU)
#define MAX(format, x, y)    from_float(extreme(x, y, true, flags), format, flags & ~(uint32_t)TRCPU_HAS_RELU)
#define FMA(format, x, y, z) fused_half(x, y, z, format, flags)
HALF2(add, ADD)
HALF2(sub, SUB)
HALF2(mul, MUL)
HALF2(min, MIN)
HALF2(max, MAX)
HALF3(fused, FMA)

#define SUBNORMAL16(v) ((v)&0x7c00 ? (v) : (v)&0x8000)
#define FLUSHED(v)                                                                                           \
    (insn->flags & TRCPU_HAS_FTZ ? (SUBNORMAL16((v)&0xffff) | SUBNORMAL16((v) >> 16) << 16) : (v))
UNARY(neg_one, uint32_t, uint32_t, FLUSHED(a) ^ 0x8000)
UNARY(neg_two, uint32_t, uint32_t, FLUSHED(a) ^ 0x80008000)
UNARY(abs_one, uint32_t, uint32_t, FLUSHED(a) & 0x7fff)
UNARY(abs_two, uint32_t, uint32_t, FLUSHED(a) & 0x7fff7fff)

#define FORMS_OF(name, modifiers, operands1, operands2, handler)                                             \
    {name modifiers ".f16", operands1, handler##_f16, 0, PURE},                                              \
        {name modifiers ".bf16", operands1, handler##_bf16, 0, PURE},                                        \
        {name modifiers ".f16x2", operands2, handler##_f16x2, 0, PURE}, {                                    \
        name modifiers ".bf16x2", operands2, handler##_bf16x2, 0, PURE                                       \
    }

FORMS(half){
    FORMS_OF("add", ".?rn.?ftz.?sat", "h=hh", "w=ww", add),
    FORMS_OF("sub", ".?rn.?ftz.?sat", "h=hh", "w=ww", sub),
    FORMS_OF("mul", ".?rn.?ftz.?sat", "h=hh", "w=ww", mul),
    FORMS_OF("fma", ".rn.?ftz.?sat|relu", "h=hhh", "w=www", fused),
    FORMS_OF("min", ".?ftz.?NaN.?xorsign.?abs", "h=hh", "w=ww", min),
    FORMS_OF("max", ".?ftz.?NaN.?xorsign.?abs", "h=hh", "w=ww", max),
    {"neg.?ftz.f16", "h=h", neg_one, 0, PURE},
    {"neg.?ftz.f16x2", "w=w", neg_two, 0, PURE},
    {"neg.bf16", "h=h", neg_one, 0, PURE},
    {"neg.bf16x2", "w=w", neg_two, 0, PURE},
    {"abs.?ftz.f16", "h=h", abs_one, 0, PURE},
    {"abs.?ftz.f16x2", "w=w", abs_two, 0, PURE},
    {"abs.bf16", "h=h", abs_one, 0, PURE},
    {"abs.bf16x2", "w=w", abs_two, 0, PURE},
    END_OF_FORMS,
};
