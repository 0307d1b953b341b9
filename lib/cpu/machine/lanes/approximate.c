/* ex2, lg2, sin, cos, tanh, rsqrt: computed in double by polynomials that vectorise, so that the f32 result is
   nearly always the right one; the hardware's own error is larger. */
#include "machine/lanes/lanes.h"

static inline double scale(int32_t exponent) {
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To the nearest integer, for magnitudes below 2^51. */
static inline double nearest(double x) {
    const double magic = 6755399441055744.0;
    return (x + magic) - magic;
}

static inline double exp2_of(double x) {
    x = x > 200 ? 200 : x < -200 ? -200 : x;
    double n = nearest(x), f = x - n, p = 7.054911620801123e-9;
    p = p * f + 1.0178086009239699e-7;
    p = p * f + 1.3215486790144309e-6;
    p = p * f + 1.5252733804059840e-5;
    p = p * f + 1.5403530393381608e-4;
    p = p * f + 1.3333558146428443e-3;
    p = p * f + 9.6181291076284771e-3;
    p = p * f + 5.5504108664821579e-2;
    p = p * f + 2.4022650695910072e-1;
    p = p * f + 6.9314718055994531e-1;
    p = p * f + 1.0;
    return p * scale((int32_t)n);
}

static inline float ex2(float a) {
    float r = (float)exp2_of(a);
    return a != a ? trcpu_float(0x7fffffff) : r;
}

static inline float lg2(float a) {
    double x = a;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    /* x = m 2^e with m around 1 */
    int64_t e = (int64_t)((bits - 0x3fe6a09e667f3bcdu) >> 52);
    e = e >= 2048 ? e - 4096 : e;
    uint64_t mantissa = bits - ((uint64_t)e << 52);
    double m;
    memcpy(&m, &mantissa, sizeof m);
    double s = (m - 1.0) / (m + 1.0), z = s * s, p = 1.0 / 17;
    p = p * z + 1.0 / 15;
    p = p * z + 1.0 / 13;
    p = p * z + 1.0 / 11;
    p = p * z + 1.0 / 9;
    p = p * z + 1.0 / 7;
    p = p * z + 1.0 / 5;
    p = p * z + 1.0 / 3;
    p = p * z + 1.0;
    float r = (float)((double)(int32_t)e + 2.8853900817779268 * s * p);
    r = a == 0 ? -INFINITY : a == INFINITY ? INFINITY : r;
    return a < 0 || a != a ? trcpu_float(0x7fffffff) : r;
}

/* sin(x + quarter pi/2) */
static inline float sine(float a, int32_t quarter) {
    double x = a, k = nearest(x * 0.63661977236758134);
    double r = (x - k * 1.5707963267341256) - k * 6.0771005065061922e-11, z = r * r;
    int32_t quadrant = (int32_t)k + quarter;
    double s = -7.6471637318198164e-13;
    s = s * z + 1.6059043836821613e-10;
    s = s * z - 2.5052108385441720e-8;
    s = s * z + 2.7557319223985893e-6;
    s = s * z - 1.9841269841269841e-4;
    s = s * z + 8.3333333333333333e-3;
    s = s * z - 1.6666666666666667e-1;
    s = s * z * r + r;
    double c = -1.1470745597729725e-11;
    c = c * z + 2.0876756987868099e-9;
    c = c * z - 2.7557319223985888e-7;
    c = c * z + 2.4801587301587302e-5;
    c = c * z - 1.3888888888888889e-3;
    c = c * z + 4.1666666666666664e-2;
    c = c * z - 0.5;
    c = c * z + 1.0;
    double v = quadrant & 1 ? c : s;
    return (float)(quadrant & 2 ? -v : v);
}

static inline float tanh_of(float a) {
    double x = a, e = exp2_of(2.8853900817779268 * x);
    double r = x * x < 1e-7 ? x - x * x * x / 3 : 1.0 - 2.0 / (e + 1.0);
    return a != a ? trcpu_float(0x7fffffff) : (float)r;
}

static inline float rsqrt(float a) {
    return canonical((float)(1.0 / sqrt((double)a)));
}

#define APPROXIMATE(name, expression)                                                                        \
    UNARY(name, float, float, expression)                                                                    \
    UNARY(name##_ftz, float, float, (a = flush(a), flush(expression)))
APPROXIMATE(ex2_f32, ex2(a))
APPROXIMATE(lg2_f32, lg2(a))
UNARY(tanh_f32, float, float, tanh_of(a))
APPROXIMATE(rsqrt_f32, rsqrt(a))

/* Far out the reduction above loses its digits. */
#define CIRCULAR(name, quarter, function)                                                                    \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        float *d = ROW(float, 0);                                                                            \
        const float *a = ROW(float, 1);                                                                      \
        bool ftz = insn->flags & TRCPU_HAS_FTZ;                                                              \
        float in[32], out[32];                                                                               \
        LANES in[l] = ftz ? flush(a[l]) : a[l];                                                              \
        LANES out[l] = sine(fabsf(in[l]) < 1e6f ? in[l] : 0.0f, quarter);                                    \
        for (uint32_t l = 0; l < 32; l++)                                                                    \
            if (!(fabsf(in[l]) < 1e6f)) out[l] = canonical((float)function((double)in[l]));                  \
        LANES d[l] = ftz ? flush(out[l]) : out[l];                                                           \
        return insn + 1;                                                                                     \
    }
CIRCULAR(sin_f32, 0, sin)
CIRCULAR(cos_f32, 1, cos)

#define HALF_OF(x, function, format)                                                                         \
    trcpu_narrow(function(trcpu_widen((x)&0xffff, format)), format, TRCPU_ROUND_NEAREST, 0)
#define HALF_FORMS(name, function)                                                                           \
    UNARY(name##_f16, uint32_t, uint32_t, HALF_OF(a, function, TRCPU_F16))                                   \
    UNARY(name##_f16x2, uint32_t, uint32_t,                                                                  \
          HALF_OF(a, function, TRCPU_F16) | HALF_OF(a >> 16, function, TRCPU_F16) << 16)                     \
    UNARY(name##_bf16, uint32_t, uint32_t, HALF_OF(a, function, TRCPU_BF16))                                 \
    UNARY(name##_bf16x2, uint32_t, uint32_t,                                                                 \
          HALF_OF(a, function, TRCPU_BF16) | HALF_OF(a >> 16, function, TRCPU_BF16) << 16)
HALF_FORMS(ex2, ex2)
HALF_FORMS(tanh, tanh_of)

FORMS(approximate){
    {"ex2.approx.f32", "w=w", ex2_f32, 0, PURE},
    {"ex2.approx.ftz.f32", "w=w", ex2_f32_ftz, 0, PURE},
    {"lg2.approx.f32", "w=w", lg2_f32, 0, PURE},
    {"lg2.approx.ftz.f32", "w=w", lg2_f32_ftz, 0, PURE},
    {"tanh.approx.f32", "w=w", tanh_f32, 0, PURE},
    {"rsqrt.approx.f32", "w=w", rsqrt_f32, 0, PURE},
    {"rsqrt.approx.ftz.f32", "w=w", rsqrt_f32_ftz, 0, PURE},
    {"sin.approx.?ftz.f32", "w=w", sin_f32, 0, PURE},
    {"cos.approx.?ftz.f32", "w=w", cos_f32, 0, PURE},
    {"ex2.approx.f16", "h=h", ex2_f16, 0, PURE},
    {"ex2.approx.f16x2", "w=w", ex2_f16x2, 0, PURE},
    {"ex2.approx.ftz.bf16", "h=h", ex2_bf16, 0, PURE},
    {"ex2.approx.ftz.bf16x2", "w=w", ex2_bf16x2, 0, PURE},
    {"tanh.approx.f16", "h=h", tanh_f16, 0, PURE},
    {"tanh.approx.f16x2", "w=w", tanh_f16x2, 0, PURE},
    {"tanh.approx.bf16", "h=h", tanh_bf16, 0, PURE},
    {"tanh.approx.bf16x2", "w=w", tanh_bf16x2, 0, PURE},
    END_OF_FORMS,
};
