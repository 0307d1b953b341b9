/* cvt. */
#include "machine/lanes/lanes.h"

/* Of a 16-bit register only 16 bits count. */
#define KEEP_BITS (insn->width <= 2 ? 0xffffu : ~0u)

/* ---- integer to integer: sign or zero extended, cut off, or saturated ---- */
#define LIMITED(v, low, high) ((v) < (low) ? (low) : (v) > (high) ? (high) : (v))
#define TO_NARROW(name, S, source, D, low, high)                                                             \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        uint32_t *d = ROW(uint32_t, 0), keep = KEEP_BITS;                                                    \
        const source *a = ROW(source, 1);                                                                    \
        LANES d[l] = (uint32_t)(D)(S)a[l] & keep;                                                            \
        return insn + 1;                                                                                     \
    }                                                                                                        \
    HANDLER(name##_sat) {                                                                                    \
        (void)mask;                                                                                          \
        uint32_t *d = ROW(uint32_t, 0), keep = KEEP_BITS;                                                    \
        const source *a = ROW(source, 1);                                                                    \
        LANES {                                                                                              \
            S v = (S)a[l];                                                                                   \
            bool under = v < 0 && (int64_t)v<(int64_t)(low), over = v> 0 && (uint64_t)v > (uint64_t)(high);  \
            d[l] = (uint32_t)(under ? (D)(low) : over ? (D)(high) : (D)v) & keep;                            \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    }
#define TO_WIDE(name, S, source, D, low, high)                                                               \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        uint64_t *d = ROW(uint64_t, 0);                                                                      \
        const source *a = ROW(source, 1);                                                                    \
        LANES d[l] = (uint64_t)(D)(S)a[l];                                                                   \
        return insn + 1;                                                                                     \
    }                                                                                                        \
    HANDLER(name##_sat) {                                                                                    \
        (void)mask;                                                                                          \
        uint64_t *d = ROW(uint64_t, 0);                                                                      \
        const source *a = ROW(source, 1);                                                                    \
        LANES {                                                                                              \
            S v = (S)a[l];                                                                                   \
            bool under = v < 0 && (int64_t)v<(int64_t)(low), over = v> 0 && (uint64_t)v > (uint64_t)(high);  \
            d[l] = (uint64_t)(under ? (D)(low) : over ? (D)(high) : (D)v);                                   \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    }
#define FROM(s, S, source)                                                                                   \
    TO_NARROW(s##_u8, S, source, uint8_t, 0, UINT8_MAX)                                                      \
    TO_NARROW(s##_s8, S, source, int8_t, INT8_MIN, INT8_MAX)                                                 \
    TO_NARROW(s##_u16, S, source, uint16_t, 0, UINT16_MAX)                                                   \
    TO_NARROW(s##_s16, S, source, int16_t, INT16_MIN, INT16_MAX)                                             \
    TO_NARROW(s##_u32, S, source, uint32_t, 0, UINT32_MAX)                                                   \
    TO_NARROW(s##_s32, S, source, int32_t, INT32_MIN, INT32_MAX)                                             \
    TO_WIDE(s##_u64, S, source, uint64_t, 0, UINT64_MAX)                                                     \
    TO_WIDE(s##_s64, S, source, int64_t, INT64_MIN, INT64_MAX)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtype-limits"
FROM(u8, uint8_t, uint32_t)
FROM(s8, int8_t, uint32_t)
FROM(u16, uint16_t, uint32_t)
FROM(s16, int16_t, uint32_t)
FROM(u32, uint32_t, uint32_t)
FROM(s32, int32_t, uint32_t)
FROM(u64, uint64_t, uint64_t)
FROM(s64, int64_t, uint64_t)
#pragma GCC diagnostic pop

/* ---- floats as they are read ---- */
enum { F32, F64, F16, BF16 };

static inline void read_floats(trcpu_warp *warp, const trcpu_insn *insn, uint32_t kind, double out[32]) {
    if (kind == F64) {
        const double *a = ROW(double, 1);
        LANES out[l] = a[l];
    } else if (kind == F32) {
        const float *a = ROW(float, 1);
        if (insn->flags & TRCPU_HAS_FTZ) {
            LANES out[l] = flush(a[l]);
        } else {
            LANES out[l] = a[l];
        }
    } else if (kind == F16) {
        const uint32_t *a = ROW(uint32_t, 1);
        LANES out[l] = trcpu_widen(a[l] & 0xffff, TRCPU_F16);
    } else {
        const uint32_t *a = ROW(uint32_t, 1);
        LANES out[l] = trcpu_widen(a[l] & 0xffff, TRCPU_BF16);
    }
}

/* mode: rounding of trcpu_rounding in the low bits */
static inline void round_to_integers(double v[32], uint32_t rounding) {
    switch (rounding) {
    case TRCPU_ROUND_NEAREST: LANES v[l] = __builtin_rint(v[l]); break;
    case TRCPU_ROUND_ZERO: LANES v[l] = __builtin_trunc(v[l]); break;
    case TRCPU_ROUND_DOWN: LANES v[l] = __builtin_floor(v[l]); break;
    default: LANES v[l] = __builtin_ceil(v[l]); break;
    }
}

/* ---- float to integer: NaN is 0, what is out of range the nearest there is; mode: rounding, kind above ---- */
#define FLOAT_TO(name, D, d_row, low, high, limit)                                                           \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        double v[32];                                                                                        \
        read_floats(warp, insn, insn->mode >> 2 & 3, v);                                                     \
        round_to_integers(v, insn->mode & 3);                                                                \
        d_row *d = ROW(d_row, 0),                                                                            \
              keep = sizeof(d_row) == 4 && insn->width <= 2 ? (d_row)0xffff : (d_row) ~(d_row)0;             \
        LANES {                                                                                              \
            double x = v[l] > (double)(low) ? v[l] : (double)(low);                                          \
            D r = x >= (limit) ? (high) : (D)(x >= (limit) ? 0 : x);                                         \
            d[l] = (d_row)(v[l] != v[l] ? 0 : r) & keep;                                                     \
        }                                                                                                    \
        return insn + 1;                                                                                     \
    }
FLOAT_TO(float_u8, uint8_t, uint32_t, 0, UINT8_MAX, 256.0)
FLOAT_TO(float_s8, int8_t, uint32_t, INT8_MIN, INT8_MAX, 128.0)
FLOAT_TO(float_u16, uint16_t, uint32_t, 0, UINT16_MAX, 65536.0)
FLOAT_TO(float_s16, int16_t, uint32_t, INT16_MIN, INT16_MAX, 32768.0)
FLOAT_TO(float_u32, uint32_t, uint32_t, 0, UINT32_MAX, 4294967296.0)
FLOAT_TO(float_s32, int32_t, uint32_t, INT32_MIN, INT32_MAX, 2147483648.0)
FLOAT_TO(float_u64, uint64_t, uint64_t, 0, UINT64_MAX, 18446744073709551616.0)
FLOAT_TO(float_s64, int64_t, uint64_t, INT64_MIN, INT64_MAX, 9223372036854775808.0)

/* ---- integer to float ---- */
static inline float float_of(long double exact, float nearest, uint32_t rounding) {
    if (rounding == TRCPU_ROUND_NEAREST || (long double)nearest == exact) return nearest;
    bool down = rounding == TRCPU_ROUND_DOWN || (rounding == TRCPU_ROUND_ZERO && exact > 0);
    if (down) return nearest > exact ? nextafterf(nearest, -INFINITY) : nearest;
    return nearest < exact ? nextafterf(nearest, INFINITY) : nearest;
}
static inline double double_of(long double exact, double nearest, uint32_t rounding) {
    if (rounding == TRCPU_ROUND_NEAREST || (long double)nearest == exact) return nearest;
    bool down = rounding == TRCPU_ROUND_DOWN || (rounding == TRCPU_ROUND_ZERO && exact > 0);
    if (down) return nearest > exact ? nextafter(nearest, -INFINITY) : nearest;
    return nearest < exact ? nextafter(nearest, INFINITY) : nearest;
}
#define INTEGER_TO(s, S, source)                                                                             \
    UNARY(s##_f32, float, source, (float)(S)a)                                                               \
    UNARY(s##_f64, double, source, (double)(S)a)                                                             \
    UNARY(s##_f32_directed, float, source, float_of((long double)(S)a, (float)(S)a, insn->mode))             \
    UNARY(s##_f64_directed, double, source, double_of((long double)(S)a, (double)(S)a, insn->mode))          \
    UNARY(s##_f16, uint32_t, source, trcpu_narrow_double((double)(S)a, TRCPU_F16, insn->mode, 0))            \
    UNARY(s##_bf16, uint32_t, source, trcpu_narrow_double((double)(S)a, TRCPU_BF16, insn->mode, 0))
INTEGER_TO(u8, uint8_t, uint32_t)
INTEGER_TO(s8, int8_t, uint32_t)
INTEGER_TO(u16, uint16_t, uint32_t)
INTEGER_TO(s16, int16_t, uint32_t)
INTEGER_TO(u32, uint32_t, uint32_t)
INTEGER_TO(s32, int32_t, uint32_t)
INTEGER_TO(u64, uint64_t, uint64_t)
INTEGER_TO(s64, int64_t, uint64_t)

/* ---- float to float ---- */
static inline float last_touch(float v, uint32_t flags) {
    v = canonical(v);
    v = flags & TRCPU_HAS_FTZ ? flush(v) : v;
    return flags & TRCPU_HAS_SAT ? saturate(v) : v;
}

UNARY(f32_f64, double, float, a != a ? NAN : (double)(insn->flags & TRCPU_HAS_FTZ ? flush(a) : a))
UNARY(f64_f32, float, double, last_touch((float)a, insn->flags))
UNARY(f64_f32_directed, float, double, last_touch(float_of(a, (float)a, insn->mode), insn->flags))
UNARY(f16_f32, float, uint32_t, last_touch(trcpu_widen(a & 0xffff, TRCPU_F16), insn->flags))
UNARY(f16_f32_plain, float, uint32_t, trcpu_widen(a & 0xffff, TRCPU_F16))
UNARY(bf16_f32, float, uint32_t, last_touch(trcpu_float(a << 16), insn->flags))
UNARY(f16_f64, double, uint32_t, trcpu_widen(a & 0xffff, TRCPU_F16))
UNARY(bf16_f64, double, uint32_t, trcpu_widen(a & 0xffff, TRCPU_BF16))
UNARY(f32_f32, float, float, last_touch(insn->flags &TRCPU_HAS_FTZ ? flush(a) : a, insn->flags))

static inline int narrow_flags(const trcpu_insn *insn) {
    return (insn->flags & TRCPU_HAS_RELU ? TRCPU_RELU : 0) |
           (insn->flags & TRCPU_HAS_SAT ? TRCPU_SATFINITE : 0);
}

/* To nearest and nothing else, as nearly all are. */
TRCPU_INLINE bool narrow_plainly(uint32_t *out, const float *in, trcpu_format format, uint32_t rounding,
                                 int flags) {
    if (rounding != TRCPU_ROUND_NEAREST || flags) return false;
    if (format == TRCPU_F16) {
        LANES out[l] = trcpu_narrow(in[l], TRCPU_F16, TRCPU_ROUND_NEAREST, 0);
    } else if (format == TRCPU_BF16) {
        LANES out[l] = trcpu_narrow(in[l], TRCPU_BF16, TRCPU_ROUND_NEAREST, 0);
    } else {
        return false;
    }
    return true;
}

/* mode: rounding, and what it becomes in bits 2 and 3 */
HANDLER(f32_half) {
    (void)mask;
    const trcpu_format format = insn->mode >> 2 & 1 ? TRCPU_BF16 : TRCPU_F16;
    float in[32];
    const float *a = ROW(float, 1);
    LANES in[l] = insn->flags & TRCPU_HAS_FTZ ? flush(a[l]) : a[l];
    if (!narrow_plainly(ROW(uint32_t, 0), in, format, insn->mode & 3, narrow_flags(insn)))
        trcpu_row_narrow(ROW(uint32_t, 0), in, format, insn->mode & 3, narrow_flags(insn));
    return insn + 1;
}

static inline uint32_t saturate16(uint32_t bits, uint32_t flags, uint32_t one, uint32_t infinity) {
    if (!(flags & TRCPU_HAS_SAT)) return bits;
    return bits & 0x8000 || (bits & 0x7fff) > infinity ? 0 : bits > one ? one : bits;
}
UNARY(f32_f16_sat, uint32_t, float,
      saturate16(trcpu_narrow(a, TRCPU_F16, insn->mode, 0), TRCPU_HAS_SAT, 0x3c00, 0x7c00))
UNARY(f64_f16, uint32_t, double, trcpu_narrow_double(a, TRCPU_F16, insn->mode, 0))
UNARY(f64_bf16, uint32_t, double, trcpu_narrow_double(a, TRCPU_BF16, insn->mode, 0))
UNARY(f16_bf16, uint32_t, uint32_t,
      trcpu_narrow(trcpu_widen(a & 0xffff, TRCPU_F16), TRCPU_BF16, insn->mode, 0))
UNARY(bf16_f16, uint32_t, uint32_t,
      trcpu_narrow(trcpu_widen(a & 0xffff, TRCPU_BF16), TRCPU_F16, insn->mode, 0))
UNARY(f16_f16_sat, uint32_t, uint32_t, saturate16(a, TRCPU_HAS_SAT, 0x3c00, 0x7c00))

HANDLER(f32_tf32) {
    (void)mask;
    trcpu_row_narrow(ROW(uint32_t, 0), ROW(float, 1), TRCPU_TF32, insn->mode, narrow_flags(insn));
    return insn + 1;
}

static trcpu_format format_of(uint32_t kind) {
    static const trcpu_format formats[] = {TRCPU_F16, TRCPU_BF16, TRCPU_E4M3, TRCPU_E5M2};
    return formats[kind];
}

/* Two f32 into one register; the first source goes above. mode: rounding, format above. */
HANDLER(f32_pair) {
    (void)mask;
    uint32_t high[32], low[32], *d = ROW(uint32_t, 0);
    const trcpu_format format = format_of(insn->mode >> 2 & 3);
    if (narrow_plainly(high, ROW(float, 1), format, insn->mode & 3, narrow_flags(insn)) &&
        narrow_plainly(low, ROW(float, 2), format, insn->mode & 3, narrow_flags(insn))) {
        LANES d[l] = high[l] << 16 | low[l];
        return insn + 1;
    }
    trcpu_row_narrow_pair(d, ROW(float, 1), ROW(float, 2), format, insn->mode & 3, narrow_flags(insn));
    return insn + 1;
}

HANDLER(f16x2_pair) {
    (void)mask;
    float high[32], low[32];
    trcpu_row_widen(high, ROW(uint32_t, 1), 16, TRCPU_F16);
    trcpu_row_widen(low, ROW(uint32_t, 1), 0, TRCPU_F16);
    trcpu_row_narrow_pair(ROW(uint32_t, 0), high, low, format_of(insn->mode >> 2 & 3), TRCPU_ROUND_NEAREST,
                          narrow_flags(insn));
    return insn + 1;
}

HANDLER(fp8_pair) {
    (void)mask;
    float high[32], low[32];
    trcpu_row_widen(high, ROW(uint32_t, 1), 8, format_of(insn->mode >> 2 & 3));
    trcpu_row_widen(low, ROW(uint32_t, 1), 0, format_of(insn->mode >> 2 & 3));
    trcpu_row_narrow_pair(ROW(uint32_t, 0), high, low, TRCPU_F16, TRCPU_ROUND_NEAREST,
                          insn->flags & TRCPU_HAS_RELU ? TRCPU_RELU : 0);
    return insn + 1;
}

/* To an integer that stays a float. mode: rounding. */
#define INTEGRAL(name, type, kind, store)                                                                    \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        double v[32];                                                                                        \
        read_floats(warp, insn, kind, v);                                                                    \
        round_to_integers(v, insn->mode & 3);                                                                \
        type *d = ROW(type, 0);                                                                              \
        LANES d[l] = store;                                                                                  \
        return insn + 1;                                                                                     \
    }
INTEGRAL(integral_f32, float, F32, last_touch((float)v[l], insn->flags))
INTEGRAL(integral_f64, double, F64, v[l])
INTEGRAL(integral_f16, uint32_t, F16, trcpu_narrow((float)v[l], TRCPU_F16, TRCPU_ROUND_NEAREST, 0))
INTEGRAL(integral_bf16, uint32_t, BF16, trcpu_narrow((float)v[l], TRCPU_BF16, TRCPU_ROUND_NEAREST, 0))

#define INT_FORM(d, s, operands)                                                                             \
    {"cvt." #d "." #s, operands, s##_##d, 0, PURE}, {                                                        \
        "cvt.sat." #d "." #s, operands, s##_##d##_sat, 0, PURE                                               \
    }
#define INT_FORMS(s, w)                                                                                      \
    INT_FORM(u8, s, "n=" w), INT_FORM(s8, s, "n=" w), INT_FORM(u16, s, "n=" w), INT_FORM(s16, s, "n=" w),    \
        INT_FORM(u32, s, "n=" w), INT_FORM(s32, s, "n=" w), INT_FORM(u64, s, "d=" w),                        \
        INT_FORM(s64, s, "d=" w), {"cvt.rn.f32." #s, "w=" w, s##_f32, 0, PURE},                              \
        {"cvt.rn.f64." #s, "d=" w, s##_f64, 0, PURE},                                                        \
        {"cvt.#rn|rz|rm|rp.?ftz.?sat.f32." #s, "w=" w, s##_f32_directed, 0, PURE},                           \
        {"cvt.#rn|rz|rm|rp.f64." #s, "d=" w, s##_f64_directed, 0, PURE},                                     \
        {"cvt.#rn|rz|rm|rp.f16." #s, "h=" w, s##_f16, 0, PURE}, {                                            \
        "cvt.#rn|rz|rm|rp.bf16." #s, "h=" w, s##_bf16, 0, PURE                                               \
    }
#define ROUNDINGS "#rni|rzi|rmi|rpi"
#define FLOAT_FORMS(f, w, kind)                                                                              \
    {"cvt." ROUNDINGS ".?ftz.?sat.u8." f, "n=" w, float_u8, kind << 2, PURE},                                \
        {"cvt." ROUNDINGS ".?ftz.?sat.s8." f, "n=" w, float_s8, kind << 2, PURE},                            \
        {"cvt." ROUNDINGS ".?ftz.?sat.u16." f, "n=" w, float_u16, kind << 2, PURE},                          \
        {"cvt." ROUNDINGS ".?ftz.?sat.s16." f, "n=" w, float_s16, kind << 2, PURE},                          \
        {"cvt." ROUNDINGS ".?ftz.?sat.u32." f, "n=" w, float_u32, kind << 2, PURE},                          \
        {"cvt." ROUNDINGS ".?ftz.?sat.s32." f, "n=" w, float_s32, kind << 2, PURE},                          \
        {"cvt." ROUNDINGS ".?ftz.?sat.u64." f, "d=" w, float_u64, kind << 2, PURE}, {                        \
        "cvt." ROUNDINGS ".?ftz.?sat.s64." f, "d=" w, float_s64, kind << 2, PURE                             \
    }

FORMS(convert){
    INT_FORMS(u8, "n"),
    INT_FORMS(s8, "n"),
    INT_FORMS(u16, "n"),
    INT_FORMS(s16, "n"),
    INT_FORMS(u32, "n"),
    INT_FORMS(s32, "n"),
    INT_FORMS(u64, "d"),
    INT_FORMS(s64, "d"),
    FLOAT_FORMS("f32", "w", F32),
    FLOAT_FORMS("f64", "d", F64),
    FLOAT_FORMS("f16", "h", F16),
    FLOAT_FORMS("bf16", "h", BF16),
    {"cvt.?ftz.f64.f32", "d=w", f32_f64, 0, PURE},
    {"cvt.rn.?ftz.?sat.f32.f64", "w=d", f64_f32, 0, PURE},
    {"cvt.#rn|rz|rm|rp.?ftz.?sat.f32.f64", "w=d", f64_f32_directed, 0, PURE},
    {"cvt.f32.f16", "w=h", f16_f32_plain, 0, PURE},
    {"cvt.?ftz.?sat.f32.f16", "w=h", f16_f32, 0, PURE},
    {"cvt.?ftz.?sat.f32.bf16", "w=h", bf16_f32, 0, PURE},
    {"cvt.f64.f16", "d=h", f16_f64, 0, PURE},
    {"cvt.f64.bf16", "d=h", bf16_f64, 0, PURE},
    {"cvt.?ftz.?sat.f32.f32", "w=w", f32_f32, 0, PURE},
    {"cvt.f64.f64", "d=d", s64_s64, 0, PURE},
    {"cvt.f16.f16", "h=h", u16_u16, 0, PURE},
    {"cvt.sat.f16.f16", "h=h", f16_f16_sat, 0, PURE},
    {"cvt.#rn|rz.?ftz.f16.f32", "h=w", f32_half, 0, PURE},
    {"cvt.#rn|rz.sat.f16.f32", "h=w", f32_f16_sat, 0, PURE},
    {"cvt.#rn|rz|rm|rp.?ftz.f16.f32", "h=w", f32_half, 0, PURE},
    {"cvt.#rn|rz.?relu.?satfinite.f16.f32", "h=w", f32_half, 0, PURE},
    {"cvt.#rn|rz.?satfinite.?relu.f16.f32", "h=w", f32_half, 0, PURE},
    {"cvt.#rn|rz.?relu.?satfinite.bf16.f32", "h=w", f32_half, 4, PURE},
    {"cvt.#rn|rz|rm|rp.bf16.f32", "h=w", f32_half, 4, PURE},
    {"cvt.#rn|rz|rm|rp.f16.f64", "h=d", f64_f16, 0, PURE},
    {"cvt.#rn|rz|rm|rp.bf16.f64", "h=d", f64_bf16, 0, PURE},
    {"cvt.#rn|rz|rm|rp.bf16.f16", "h=h", f16_bf16, 0, PURE},
    {"cvt.bf16.f16", "h=h", f16_bf16, 0, PURE},
    {"cvt.#rn|rz|rm|rp.f16.bf16", "h=h", bf16_f16, 0, PURE},
    {"cvt.#rn|rz.?relu.?satfinite.f16x2.f32", "w=ww", f32_pair, 0, PURE},
    {"cvt.#rn|rz.?satfinite.?relu.f16x2.f32", "w=ww", f32_pair, 0, PURE},
    {"cvt.#rn|rz.?relu.?satfinite.bf16x2.f32", "w=ww", f32_pair, 4, PURE},
    {"cvt.#rn|rz.?satfinite.?relu.bf16x2.f32", "w=ww", f32_pair, 4, PURE},
    {"cvt.rn.satfinite.?relu.e4m3x2.f32", "h=ww", f32_pair, 8, PURE},
    {"cvt.rn.satfinite.?relu.e5m2x2.f32", "h=ww", f32_pair, 12, PURE},
    {"cvt.rn.satfinite.?relu.e4m3x2.f16x2", "h=w", f16x2_pair, 8, PURE},
    {"cvt.rn.satfinite.?relu.e5m2x2.f16x2", "h=w", f16x2_pair, 12, PURE},
    {"cvt.rn.?relu.f16x2.e4m3x2", "w=h", fp8_pair, 8, PURE},
    {"cvt.rn.?relu.f16x2.e5m2x2", "w=h", fp8_pair, 12, PURE},
    {"cvt.rna.?satfinite.tf32.f32", "w=w", f32_tf32, TRCPU_ROUND_AWAY, PURE},
    {"cvt.#rn|rz.?relu.?satfinite.tf32.f32", "w=w", f32_tf32, 0, PURE},
    {"cvt.#rn|rz.?satfinite.?relu.tf32.f32", "w=w", f32_tf32, 0, PURE},
    {"cvt." ROUNDINGS ".?ftz.?sat.f32.f32", "w=w", integral_f32, 0, PURE},
    {"cvt." ROUNDINGS ".f64.f64", "d=d", integral_f64, 0, PURE},
    {"cvt." ROUNDINGS ".?ftz.f16.f16", "h=h", integral_f16, 0, PURE},
    {"cvt." ROUNDINGS ".bf16.bf16", "h=h", integral_bf16, 0, PURE},
    END_OF_FORMS,
};
