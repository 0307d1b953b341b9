/* f64 arithmetic. Directed roundings borrow the thread's rounding mode for the instruction. */
#include "machine/lanes/lanes.h"

#include <fenv.h>

static inline double canonical64(double value) {
    uint64_t nan = 0x7fffffffffffffffu;
    double result;
    memcpy(&result, &nan, sizeof result);
    return value != value ? result : value;
}
static inline uint64_t bits64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline double flush64(double value) {
    uint64_t bits = bits64(value);
    return double_of(bits & 0x7ff0000000000000u ? bits : bits & 0x8000000000000000u);
}

static void enter(uint32_t rounding) {
    static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    fesetround(modes[rounding & 3]);
}

#define DIRECTED64(name, expression)                                                                         \
    HANDLER(name) {                                                                                          \
        double *d = ROW(double, 0);                                                                          \
        const double *as = ROW(double, 1), *bs = ROW(double, 2), *cs = ROW(double, 3);                       \
        int before = fegetround();                                                                           \
        enter(insn->mode);                                                                                   \
        ACTIVE_LANES {                                                                                       \
            volatile double a = as[l], b = bs[l], c = cs[l], r = expression;                                 \
            (void)a, (void)b, (void)c;                                                                       \
            d[l] = canonical64(r);                                                                           \
        }                                                                                                    \
        fesetround(before);                                                                                  \
        return insn + 1;                                                                                     \
    }

BINARY(add, double, double, double, canonical64(a + b))
BINARY(sub, double, double, double, canonical64(a - b))
BINARY(mul, double, double, double, canonical64(a *b))
BINARY(quotient, double, double, double, canonical64(a / b))
TERNARY(fused, double, double, double, double, canonical64(__builtin_fma(a, b, c)))
UNARY(root, double, double, canonical64(sqrt(a)))
UNARY(reciprocal, double, double, canonical64(1.0 / a))
DIRECTED64(add_directed, a + b)
DIRECTED64(sub_directed, a - b)
DIRECTED64(mul_directed, a *b)
DIRECTED64(div_directed, a / b)
DIRECTED64(fma_directed, fma(a, b, c))
DIRECTED64(sqrt_directed, sqrt(a))
DIRECTED64(rcp_directed, 1.0 / a)

/* The approximations of f64 have a mantissa of 20 bits. */
#define COARSE(x) double_of(bits64(canonical64(flush64(x))) & 0xffffffff00000000u)
UNARY(rcp_coarse, double, double, COARSE(1.0 / flush64(a)))
UNARY(rsqrt_coarse, double, double, COARSE(1.0 / sqrt(flush64(a))))
UNARY(rsqrt_approx, double, double, canonical64(1.0 / sqrt(a)))

BINARY(min_f64, double, double, double,
       canonical64(a != a   ? b
                   : b != b ? a
                   : a == b ? double_of(bits64(a) | bits64(b))
                   : a < b  ? a
                            : b))
BINARY(max_f64, double, double, double,
       canonical64(a != a   ? b
                   : b != b ? a
                   : a == b ? double_of(bits64(a) & bits64(b))
                   : a > b  ? a
                            : b))
UNARY(neg, uint64_t, uint64_t, a ^ 0x8000000000000000u)
UNARY(magnitude, uint64_t, uint64_t, a & 0x7fffffffffffffffu)
BINARY(copysign_f64, uint64_t, uint64_t, uint64_t, (a & 0x8000000000000000u) | (b & 0x7fffffffffffffffu))

HANDLER(testp) {
    const uint64_t *a = ROW(uint64_t, 1), infinity = 0x7ff0000000000000u, least = 0x0010000000000000u;
    uint32_t r = 0;
    for (uint32_t l = 0; l < 32; l++) {
        uint64_t m = a[l] & 0x7fffffffffffffffu;
        bool is[] = {m<infinity, m == infinity, m <= infinity, m> infinity, m >= least && m < infinity,
                     m < least && m};
        r |= (uint32_t)is[insn->mode] << l;
    }
    set_predicate(PREDICATE(0), r, mask);
    return insn + 1;
}

#define DIRECTED_FORM(base, operands, handler)                                                               \
    { base ".#rn|rz|rm|rp.f64", operands, handler, 0, 0 }
FORMS(double){
    {"add.?rn.f64", "d=dd", add, 0, PURE},
    DIRECTED_FORM("add", "d=dd", add_directed),
    {"sub.?rn.f64", "d=dd", sub, 0, PURE},
    DIRECTED_FORM("sub", "d=dd", sub_directed),
    {"mul.?rn.f64", "d=dd", mul, 0, PURE},
    DIRECTED_FORM("mul", "d=dd", mul_directed),
    {"fma.rn.f64", "d=ddd", fused, 0, PURE},
    {"mad.rn.f64", "d=ddd", fused, 0, PURE},
    DIRECTED_FORM("fma", "d=ddd", fma_directed),
    DIRECTED_FORM("mad", "d=ddd", fma_directed),
    {"div.rn.f64", "d=dd", quotient, 0, PURE},
    DIRECTED_FORM("div", "d=dd", div_directed),
    {"sqrt.rn.f64", "d=d", root, 0, PURE},
    DIRECTED_FORM("sqrt", "d=d", sqrt_directed),
    {"rcp.rn.f64", "d=d", reciprocal, 0, PURE},
    DIRECTED_FORM("rcp", "d=d", rcp_directed),
    {"rcp.approx.ftz.f64", "d=d", rcp_coarse, 0, PURE},
    {"rsqrt.approx.ftz.f64", "d=d", rsqrt_coarse, 0, PURE},
    {"rsqrt.approx.f64", "d=d", rsqrt_approx, 0, PURE},
    {"min.f64", "d=dd", min_f64, 0, PURE},
    {"max.f64", "d=dd", max_f64, 0, PURE},
    {"neg.f64", "d=d", neg, 0, PURE},
    {"abs.f64", "d=d", magnitude, 0, PURE},
    {"copysign.f64", "d=dd", copysign_f64, 0, PURE},
    {"testp.#finite|infinite|number|notanumber|normal|subnormal.f64", "p=d", testp, 0, PURE},
    END_OF_FORMS,
};
