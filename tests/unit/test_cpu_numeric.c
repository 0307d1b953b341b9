/* Conversions against tables of float64: every value of every narrow format, every rounding decision between
   two neighbours, and random bits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "machine/numeric.h"

typedef struct format_case {
    trcpu_format format;
    int exponent_bits, mantissa_bits, bias;
    uint32_t finite;        /* how many non-negative finite values: bits 0 … finite - 1 */
    uint32_t infinity, nan; /* bits; 0: has none */
    int shift;              /* where the value sits in the bits the library uses */
} format_case;

static const format_case formats[] = {
    {TRCPU_F16, 5, 10, 15, 0x7c00, 0x7c00, 0x7fff, 0},
    {TRCPU_BF16, 8, 7, 127, 0x7f80, 0x7f80, 0x7fff, 0},
    {TRCPU_TF32, 8, 10, 127, 0x3fc00, 0x3fc00, 0, 13},
    {TRCPU_E4M3, 4, 3, 7, 0x7f, 0, 0x7f, 0},
    {TRCPU_E5M2, 5, 2, 15, 0x7c, 0x7c, 0x7f, 0},
    {TRCPU_E2M1, 2, 1, 1, 8, 0, 0, 0},
    {TRCPU_E2M3, 2, 3, 1, 0x20, 0, 0, 0},
    {TRCPU_E3M2, 3, 2, 3, 0x20, 0, 0, 0},
};
enum { format_count = sizeof formats / sizeof *formats };

static double *values[format_count];

static double decode(const format_case *f, uint32_t bits) {
    int exponent = (int)(bits >> f->mantissa_bits), mantissa = (int)(bits & ((1u << f->mantissa_bits) - 1));
    if (exponent == 0) return ldexp(mantissa, 1 - f->bias - f->mantissa_bits);
    return ldexp(mantissa + (1 << f->mantissa_bits), exponent - f->bias - f->mantissa_bits);
}

static int build_tables(void **state) {
    (void)state;
    for (int i = 0; i < format_count; i++) {
        uint32_t count = formats[i].finite;
        values[i] = malloc((count + 1) * sizeof(double));
        if (!values[i]) return -1;
        for (uint32_t bits = 0; bits < count; bits++) values[i][bits] = decode(&formats[i], bits);
        values[i][count] = decode(&formats[i], count); /* what would come next, were there more exponents */
    }
    return 0;
}

static int free_tables(void **state) {
    (void)state;
    for (int i = 0; i < format_count; i++) free(values[i]);
    return 0;
}

/* Rounds to an index into the table; `count` means past the largest finite value. */
static uint32_t round_magnitude(const double *table, uint32_t count, double magnitude, bool negative,
                                trcpu_rounding rounding) {
    if (magnitude >= table[count]) return count;
    uint32_t low = 0, high = count;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (table[middle] <= magnitude)
            low = middle;
        else
            high = middle;
    }
    if (table[low] == magnitude) return low;
    double from_low = magnitude - table[low], to_high = table[high] - magnitude;
    switch (rounding) {
    case TRCPU_ROUND_NEAREST:
        return from_low < to_high ? low : from_low > to_high ? high : low & 1 ? high : low;
    case TRCPU_ROUND_AWAY: return from_low < to_high ? low : high;
    case TRCPU_ROUND_DOWN: return negative ? high : low;
    case TRCPU_ROUND_UP: return negative ? low : high;
    default: return low;
    }
}

static uint32_t reference(int index, double value, trcpu_rounding rounding, int flags) {
    const format_case *f = &formats[index];
    uint32_t max = f->finite - 1, overflow = f->infinity ? f->infinity : f->nan ? f->nan : max;
    if (isnan(value)) return f->format == TRCPU_TF32 ? 0x7fffffff : f->nan ? f->nan : max;
    bool negative = signbit(value);
    bool saturate = flags & TRCPU_SATFINITE;
    uint32_t bits;
    if (isinf(value)) {
        bits = saturate ? max : overflow;
    } else {
        bits = round_magnitude(values[index], f->finite, fabs(value), negative, rounding);
        bool stops =
            rounding == TRCPU_ROUND_ZERO || rounding == (negative ? TRCPU_ROUND_UP : TRCPU_ROUND_DOWN);
        if (bits > max) bits = saturate || stops ? max : overflow;
    }
    if (negative && flags & TRCPU_RELU) return 0;
    if (negative) bits |= 1u << (f->exponent_bits + f->mantissa_bits);
    return bits << f->shift;
}

static uint64_t next_random(void) {
    static uint64_t state = 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void check_narrow(int index, const float in[32], trcpu_rounding rounding, int flags) {
    uint32_t out[32];
    trcpu_row_narrow(out, in, formats[index].format, rounding, flags);
    for (int lane = 0; lane < 32; lane++)
        if (out[lane] != reference(index, in[lane], rounding, flags))
            fail_msg("format %d rounding %d flags %d: %a gives %x, not %x", index, rounding, flags, in[lane],
                     out[lane], reference(index, in[lane], rounding, flags));
}

static void each_way(int index, const float in[32]) {
    for (int rounding = TRCPU_ROUND_NEAREST; rounding <= TRCPU_ROUND_AWAY; rounding++)
        for (int flags = 0; flags < 4; flags++) check_narrow(index, in, (trcpu_rounding)rounding, flags);
}

/* At each value, at the middle to the next, and one float to both sides of both: all decisions there are. */
static void narrow_at_every_boundary(void **state) {
    (void)state;
    for (int index = 0; index < format_count; index++) {
        uint32_t step = formats[index].finite > 0x10000 ? 7 : 1; /* tf32: enough is enough */
        float row[32];
        int filled = 0;
        for (uint32_t bits = 0; bits < formats[index].finite; bits += step) {
            float value = (float)values[index][bits];
            float middle = (float)((values[index][bits] + values[index][bits + 1]) / 2);
            float points[] = {value,  nextafterf(value, INFINITY),  nextafterf(value, -INFINITY),
                              middle, nextafterf(middle, INFINITY), nextafterf(middle, -INFINITY)};
            for (int i = 0; i < 12; i++) {
                row[filled++] = i < 6 ? points[i] : -points[i - 6];
                if (filled < 32) continue;
                each_way(index, row);
                filled = 0;
            }
        }
        while (filled < 32) row[filled++] = (float)values[index][formats[index].finite - 1];
        each_way(index, row);
    }
}

static void narrow_random_and_special(void **state) {
    (void)state;
    static const uint32_t special[] = {0,          0x80000000, 1,          0x80000001, 0x007fffff,
                                       0x7f800000, 0xff800000, 0x7f800001, 0xffc00000, 0x7fffffff,
                                       0x7f7fffff, 0xff7fffff, 0x33000000, 0x33000001, 0x477fefff,
                                       0x477ff000, 0x43e00000, 0x43e80000};
    for (int index = 0; index < format_count; index++)
        for (int round = 0; round < 1000; round++) {
            float row[32];
            for (unsigned lane = 0; lane < 32; lane++) {
                unsigned which = (unsigned)round * 32 + lane;
                row[lane] = trcpu_float(which < 18 ? special[which] : (uint32_t)(next_random() >> 20));
            }
            each_way(index, row);
        }
}

static void widen_every_value(void **state) {
    (void)state;
    for (int index = 0; index < format_count; index++) {
        const format_case *f = &formats[index];
        uint32_t width = 1u + (uint32_t)f->exponent_bits + (uint32_t)f->mantissa_bits;
        for (uint32_t first = 0; first < 1u << width; first += 32) {
            uint32_t in[32];
            float out[32];
            uint32_t shift = width <= 8 ? 8 : 0;
            for (uint32_t lane = 0; lane < 32; lane++) {
                uint32_t bits = (first + lane) & ((1u << width) - 1);
                in[lane] = f->shift ? bits << f->shift | 0x155 : bits << shift | 0xab;
                if (!f->shift && !shift) in[lane] = bits | 0x7eef0000;
            }
            trcpu_row_widen(out, in, shift, f->format);
            for (uint32_t lane = 0; lane < 32; lane++) {
                uint32_t bits = (first + lane) & ((1u << width) - 1),
                         magnitude = bits & ((1u << (width - 1)) - 1);
                bool negative = bits >> (width - 1);
                if (magnitude < f->finite) {
                    double expected = negative ? -values[index][magnitude] : values[index][magnitude];
                    if (out[lane] != expected || !!signbit(out[lane]) != negative)
                        fail_msg("format %d: bits %x give %a, not %a", index, bits, out[lane], expected);
                } else if (f->infinity && magnitude == f->infinity) {
                    assert_true(out[lane] == (negative ? -INFINITY : INFINITY));
                } else {
                    assert_true(isnan(out[lane]));
                }
            }
        }
    }
}

static void doubles_round_once(void **state) {
    (void)state;
    for (int index = 0; index < format_count; index++)
        for (int round = 0; round < 200000; round++) {
            uint32_t at = (uint32_t)(next_random() >> 8) % formats[index].finite;
            double low = values[index][at], middle = (low + values[index][at + 1]) / 2;
            double value = middle;
            if (round % 4 == 1) value = nextafter(middle, 0);
            if (round % 4 == 2) value = nextafter(middle, INFINITY);
            if (round % 4 == 3) value = nextafter(low, round & 4 ? 0 : INFINITY);
            if (round & 8) value = -value;
            trcpu_rounding rounding = (trcpu_rounding)(round / 16 % 5);
            int flags = round / 80 % 4;
            uint32_t got = trcpu_narrow_double(value, formats[index].format, rounding, flags);
            assert_int_equal(got, reference(index, value, rounding, flags));
        }
}

static void pairs_are_packed(void **state) {
    (void)state;
    float high[32], low[32];
    uint32_t out[32];
    for (int lane = 0; lane < 32; lane++) {
        high[lane] = (float)lane / 4;
        low[lane] = -(float)lane / 8;
    }
    static const struct {
        trcpu_format format;
        int width;
    } cases[] = {{TRCPU_F16, 16}, {TRCPU_BF16, 16}, {TRCPU_E4M3, 8}, {TRCPU_E5M2, 8}, {TRCPU_E2M1, 4}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        trcpu_row_narrow_pair(out, high, low, cases[i].format, TRCPU_ROUND_NEAREST, TRCPU_SATFINITE);
        for (int lane = 0; lane < 32; lane++) {
            uint32_t expected =
                trcpu_narrow(high[lane], cases[i].format, TRCPU_ROUND_NEAREST, TRCPU_SATFINITE)
                    << cases[i].width |
                trcpu_narrow(low[lane], cases[i].format, TRCPU_ROUND_NEAREST, TRCPU_SATFINITE);
            assert_int_equal(out[lane], expected);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrow_at_every_boundary), cmocka_unit_test(narrow_random_and_special),
        cmocka_unit_test(widen_every_value),        cmocka_unit_test(doubles_round_once),
        cmocka_unit_test(pairs_are_packed),
    };
    return cmocka_run_group_tests(tests, build_tables, free_tables);
}
