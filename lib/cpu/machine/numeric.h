/* The floating-point formats PTX has beside f32 and f64, and the conversions between them in every rounding.

   Everything is integer arithmetic without branches, so that a loop over 32 lanes vectorises, gives the same
   bits on every CPU, and depends on no rounding mode or flush-to-zero setting of the calling thread. The
   functions are inline because the machine is compiled once per instruction set and each copy wants its own.

   A row is one 32-bit register of a warp: uint32_t row[32], lane by lane. */
#ifndef TRCPU_NUMERIC_H
#define TRCPU_NUMERIC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define TRCPU_INLINE static inline __attribute__((always_inline, unused))

typedef enum trcpu_format {
    TRCPU_F16,
    TRCPU_BF16,
    TRCPU_TF32, /* 19 bits at the top of a 32-bit register; the low 13 are written as zero and not read */
    TRCPU_E4M3,
    TRCPU_E5M2,
    TRCPU_E2M1,
    TRCPU_E2M3,
    TRCPU_E3M2,
    TRCPU_FORMAT_COUNT
} trcpu_format;

typedef enum trcpu_rounding {
    TRCPU_ROUND_NEAREST, /* .rn: ties to even */
    TRCPU_ROUND_ZERO,    /* .rz */
    TRCPU_ROUND_DOWN,    /* .rm */
    TRCPU_ROUND_UP,      /* .rp */
    TRCPU_ROUND_AWAY     /* .rna: nearest, ties away from zero */
} trcpu_rounding;

enum {
    TRCPU_RELU = 1,      /* .relu: what is below zero, and -0, becomes +0 */
    TRCPU_SATFINITE = 2, /* .satfinite: beyond the largest finite number becomes that number */
};

/* max: the bits of the largest finite magnitude; what lies above it is `overflow` (infinity, or NaN or max
   where the format has none), and a NaN becomes `nan`, whatever its sign and payload. Formats without NaN
   turn it into max, as the hardware does. */
typedef struct trcpu_format_traits {
    uint8_t exponent_bits, mantissa_bits;
    uint16_t max, overflow, nan;
} trcpu_format_traits;

TRCPU_INLINE trcpu_format_traits trcpu_format_traits_of(trcpu_format format) {
    switch (format) {
    case TRCPU_F16: return (trcpu_format_traits){5, 10, 0x7bff, 0x7c00, 0x7fff};
    case TRCPU_BF16: return (trcpu_format_traits){8, 7, 0x7f7f, 0x7f80, 0x7fff};
    case TRCPU_E4M3: return (trcpu_format_traits){4, 3, 0x7e, 0x7f, 0x7f};
    case TRCPU_E5M2: return (trcpu_format_traits){5, 2, 0x7b, 0x7c, 0x7f};
    case TRCPU_E2M1: return (trcpu_format_traits){2, 1, 0x7, 0x7, 0x7};
    case TRCPU_E2M3: return (trcpu_format_traits){2, 3, 0x1f, 0x1f, 0x1f};
    case TRCPU_E3M2: return (trcpu_format_traits){3, 2, 0x1f, 0x1f, 0x1f};
    default: return (trcpu_format_traits){8, 10, 0, 0, 0}; /* tf32 has a path of its own */
    }
}

TRCPU_INLINE uint32_t trcpu_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

TRCPU_INLINE float trcpu_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* What is added below the last kept bit, so that cutting off afterwards rounds: `dropped` bits go away. */
TRCPU_INLINE uint32_t trcpu_rounding_bias(uint32_t significand, uint32_t dropped, bool negative,
                                          trcpu_rounding rounding) {
    uint32_t half = 1u << (dropped - 1), all = (half << 1) - 1;
    switch (rounding) {
    case TRCPU_ROUND_NEAREST: return half - 1 + (significand >> dropped & 1);
    case TRCPU_ROUND_DOWN: return negative ? all : 0;
    case TRCPU_ROUND_UP: return negative ? 0 : all;
    case TRCPU_ROUND_AWAY: return half;
    default: return 0;
    }
}

/* Infinity is out of reach when rounding towards zero. */
TRCPU_INLINE bool trcpu_rounding_stops_at_max(bool negative, trcpu_rounding rounding) {
    return rounding == TRCPU_ROUND_ZERO || (rounding == TRCPU_ROUND_DOWN && !negative) ||
           (rounding == TRCPU_ROUND_UP && negative);
}

TRCPU_INLINE uint32_t trcpu_tf32_of_float(float value, trcpu_rounding rounding, int flags) {
    uint32_t bits = trcpu_bits(value), magnitude = bits & 0x7fffffff, sign = bits & 0x80000000;
    uint32_t rounded = (magnitude + trcpu_rounding_bias(magnitude, 13, sign != 0, rounding)) & 0x7fffe000;
    uint32_t limit =
        flags & TRCPU_SATFINITE || trcpu_rounding_stops_at_max(sign != 0, rounding) ? 0x7f7fe000 : 0x7f800000;
    rounded = rounded >= 0x7f800000 ? limit : rounded;
    rounded = magnitude == 0x7f800000 && !(flags & TRCPU_SATFINITE) ? magnitude : rounded;
    uint32_t result = flags & TRCPU_RELU && sign ? 0 : rounded | sign;
    return magnitude > 0x7f800000 ? 0x7fffffff : result;
}

/* One float to a format of at most 16 bits. `format`, `rounding` and `flags` want to be constants. */
TRCPU_INLINE uint32_t trcpu_narrow(float value, trcpu_format format, trcpu_rounding rounding, int flags) {
    if (format == TRCPU_TF32) return trcpu_tf32_of_float(value, rounding, flags);
    const trcpu_format_traits to = trcpu_format_traits_of(format);
    const int bias_difference = 127 - ((1 << (to.exponent_bits - 1)) - 1);
    const uint32_t sign_bit = 1u << (to.exponent_bits + to.mantissa_bits);

    uint32_t bits = trcpu_bits(value), magnitude = bits & 0x7fffffff;
    bool negative = bits >> 31;
    int exponent = (int)(magnitude >> 23);
    uint32_t significand = (magnitude & 0x7fffff) | (exponent ? 0x800000u : 0);
    exponent = (exponent ? exponent : 1) - bias_difference;

    int below = exponent < 1 ? 1 - exponent : 0; /* how far under the smallest normal number */
    uint32_t dropped = 23 - to.mantissa_bits + (uint32_t)below;
    dropped =
        dropped > 26 ? 26 : dropped; /* more than the significand's 24 bits: only the rounding is left */
    uint32_t rounded =
        (significand + trcpu_rounding_bias(significand, dropped, negative, rounding)) >> dropped;
    rounded += (uint32_t)(exponent < 1 ? 0 : exponent - 1) << to.mantissa_bits;

    uint32_t limit =
        flags & TRCPU_SATFINITE || trcpu_rounding_stops_at_max(negative, rounding) ? to.max : to.overflow;
    rounded = rounded > to.max ? limit : rounded;
    rounded = magnitude == 0x7f800000 && !(flags & TRCPU_SATFINITE) ? to.overflow : rounded;
    uint32_t result = negative ? (flags & TRCPU_RELU ? 0 : rounded | sign_bit) : rounded;
    return magnitude > 0x7f800000 ? to.nan : result;
}

/* Exact. A NaN becomes the canonical one, 0x7fffffff. */
TRCPU_INLINE float trcpu_widen(uint32_t bits, trcpu_format format) {
    if (format == TRCPU_BF16) return trcpu_float(bits << 16);
    if (format == TRCPU_TF32) return trcpu_float(bits & 0xffffe000);
    const trcpu_format_traits from = trcpu_format_traits_of(format);
    const uint32_t width = 1u + from.exponent_bits + from.mantissa_bits;
    const uint32_t bias_difference = 127u - ((1u << (from.exponent_bits - 1)) - 1);

    uint32_t magnitude = bits & ((1u << (width - 1)) - 1), sign = bits << (32 - width) & 0x80000000;
    uint32_t shifted = magnitude << (23 - from.mantissa_bits);
    uint32_t normal = shifted + (bias_difference << 23);
    /* 1.m × 2^e - 1 × 2^e of the smallest normal exponent: no subnormal float on the way */
    uint32_t subnormal = trcpu_bits(trcpu_float(shifted | (bias_difference + 1) << 23) -
                                    trcpu_float((bias_difference + 1) << 23));
    uint32_t finite = magnitude >> from.mantissa_bits ? normal : subnormal;
    uint32_t special = magnitude == from.overflow && from.overflow != from.nan ? 0x7f800000 : 0x7fffffff;
    bool is_special = from.nan != from.max && magnitude > from.max;
    uint32_t result = is_special ? special : finite;
    return trcpu_float(is_special && special == 0x7fffffff ? special : result | sign);
}

/* f64 to f32, cut off with the last bit set when anything was lost ("round to odd"): rounding the result
   again, to a format at least two bits shorter, is as good as rounding the f64 once. */
TRCPU_INLINE float trcpu_float_to_odd(double value) {
    float nearest = (float)value;
    double back = nearest;
    if (value != value || back == value) return nearest;
    uint32_t bits = trcpu_bits(nearest);
    bool away = value < 0 ? back < value : back > value;
    return trcpu_float((bits - away) | 1);
}

TRCPU_INLINE uint32_t trcpu_narrow_double(double value, trcpu_format format, trcpu_rounding rounding,
                                          int flags) {
    return trcpu_narrow(trcpu_float_to_odd(value), format, rounding, flags);
}

/* ---- rows: `out` may be `in` ----
   Format, rounding and flags come as the decoder has them; each combination is a loop of its own. */

/* `shift`: where in the register the number starts: 0, 8, 16 or 24. */
void trcpu_row_widen(float *out, const uint32_t *in, uint32_t shift, trcpu_format format);
void trcpu_row_narrow(uint32_t *out, const float *in, trcpu_format format, trcpu_rounding rounding,
                      int flags);
/* cvt.….x2: `high` goes above `low`; the bits above both are zero. */
void trcpu_row_narrow_pair(uint32_t *out, const float *high, const float *low, trcpu_format format,
                           trcpu_rounding rounding, int flags);

#endif
