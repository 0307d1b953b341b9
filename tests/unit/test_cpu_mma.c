/* Every mma form against a float64 (or int64) product, with the fragments laid out element by element as the
   PTX manual's tables say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "machine/mma.h"
#include "machine/numeric.h"

typedef enum kind { K_F16, K_BF16, K_TF32, K_E4M3, K_E5M2, K_S8, K_U8, K_F64 } kind;

typedef struct place {
    int row, column;
} place;

static uint64_t random_state = 88172645463325252;

static uint32_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

/* Elements of one 32-bit register. */
static int elements_of(kind of) {
    return of == K_F64 || of == K_TF32 ? 1 : of == K_F16 || of == K_BF16 ? 2 : 4;
}

/* The tables of A: element i of the lane with group g and thread-in-group t. */
static place place_a(kind of, int m, int k, int i, int g, int t) {
    int each = elements_of(of);
    if (of == K_F64 || of == K_TF32) {
        if (m == 8) return (place){g, t};
        return (place){i % 2 == 0 ? g : g + 8, t + 4 * (i / 2)};
    }
    int bytes_k = k * (4 / each);
    if (m == 8) return (place){g, t * each + i};
    if (bytes_k == 16) return (place){i < each ? g : g + 8, t * each + i % each};
    bool upper = i < each || (i >= 2 * each && i < 3 * each);
    return (place){upper ? g : g + 8, t * each + i % each + (i < 2 * each ? 0 : 4 * each)};
}

static place place_b(kind of, int i, int g, int t) {
    int each = elements_of(of);
    return (place){t * each + i % each + 4 * each * (i / each), g};
}

static place place_c(int i, int g, int t) {
    return (place){i < 2 ? g : g + 8, 2 * t + i % 2};
}

/* A random value of the kind and its bits. */
static double pick(kind of, uint64_t *bits) {
    uint32_t r = next_random();
    double value = ldexp((double)(int32_t)next_random(), -31 + (int)(r % 4));
    switch (of) {
    case K_S8: *bits = r & 0xff; return (int8_t)r;
    case K_U8: *bits = r & 0xff; return (uint8_t)r;
    case K_F64: memcpy(bits, &value, 8); return value;
    default: break;
    }
    static const trcpu_format formats[] = {TRCPU_F16, TRCPU_BF16, TRCPU_TF32, TRCPU_E4M3, TRCPU_E5M2};
    uint32_t narrow = trcpu_narrow_double(value, formats[of], TRCPU_ROUND_NEAREST, 0);
    *bits = of == K_TF32 ? narrow | (r & 0x1fff) : narrow;
    return trcpu_widen(narrow, formats[of]);
}

static void set_element(void *row, bool wide, int lane, int index, int each, uint64_t bits) {
    if (wide)
        ((uint64_t *)row)[lane] = bits;
    else
        ((uint32_t *)row)[lane] |= (uint32_t)bits << (index % each * (32 / each));
}

typedef struct test_case {
    const char *types;
    kind a, b;
    enum { ACC_F32, ACC_F16, ACC_S32, ACC_SAT, ACC_F64 } accumulator;
    int m, k;
} test_case;

static double multiply_reference(double a[16][32], double b[32][8], int row, int column, int k,
                                 double *scale) {
    double sum = 0;
    *scale = 0;
    for (int at = 0; at < k; at++) {
        sum += a[row][at] * b[at][column];
        *scale += fabs(a[row][at] * b[at][column]);
    }
    return sum;
}

static void check_form(const test_case *test) {
    char opcode[96];
    snprintf(opcode, sizeof opcode, "mma.sync.aligned.m%dn8k%d.row.col.%s", test->m, test->k, test->types);
    const trcpu_mma *form = trcpu_mma_find(opcode);
    if (!form) fail_msg("no form %s", opcode);
    assert_int_equal(form->m, test->m);
    assert_int_equal(form->k, test->k);
    bool wide = test->accumulator == ACC_F64;
    assert_int_equal(form->wide, wide);
    int each_a = elements_of(test->a), each_b = elements_of(test->b);
    int count_a = test->m * test->k / 32, count_b = 8 * test->k / 32, count_c = test->m * 8 / 32;
    assert_int_equal(form->a_rows, count_a / each_a);
    assert_int_equal(form->b_rows, count_b / each_b);
    assert_int_equal(form->c_rows, test->accumulator == ACC_F16 ? count_c / 2 : count_c);

    double a[16][32], b[32][8], c[16][8];
    uint64_t rows[16][32];
    memset(rows, 0, sizeof rows);
    void *row[16];
    for (int i = 0; i < 16; i++) row[i] = rows[i];
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        uint64_t bits;
        for (int i = 0; i < count_a; i++) {
            place at = place_a(test->a, test->m, test->k, i, g, t);
            a[at.row][at.column] = pick(test->a, &bits);
            set_element(row[i / each_a], wide, lane, i, each_a, bits);
        }
        for (int i = 0; i < count_b; i++) {
            place at = place_b(test->b, i, g, t);
            b[at.row][at.column] = pick(test->b, &bits);
            set_element(row[8 + i / each_b], wide, lane, i, each_b, bits);
        }
        for (int i = 0; i < count_c; i++) {
            place at = place_c(i, g, t);
            float value = (float)(int32_t)next_random() / 0x1p29f;
            int each = 1;
            switch (test->accumulator) {
            case ACC_F64: c[at.row][at.column] = pick(K_F64, &bits); break;
            case ACC_F16:
                c[at.row][at.column] = pick(K_F16, &bits);
                each = 2;
                break;
            case ACC_F32:
                bits = trcpu_bits(value);
                c[at.row][at.column] = value;
                break;
            default: {
                int32_t integer = next_random() % 4 ? (int32_t)next_random() % 1000 : INT32_MAX - 5;
                if (next_random() % 2) integer = -integer;
                bits = (uint32_t)integer;
                c[at.row][at.column] = integer;
            }
            }
            set_element(row[12 + i / each], wide, lane, i, each, bits);
        }
    }
    void *const *d = row + 12; /* in place, as kernels do */
    form->run(d, (const void *const *)row, (const void *const *)row + 8, (const void *const *)row + 12);

    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < count_c; i++) {
            place at = place_c(i, lane / 4, lane % 4);
            double scale, exact = c[at.row][at.column];
            exact += multiply_reference(a, b, at.row, at.column, test->k, &scale);
            scale += fabs(c[at.row][at.column]);
            double got, allowed;
            switch (test->accumulator) {
            case ACC_F64:
                memcpy(&got, &((uint64_t *)d[i])[lane], 8);
                allowed = scale * 0x1p-48;
                break;
            case ACC_F32:
                got = trcpu_float(((uint32_t *)d[i])[lane]);
                allowed = scale * 0x1p-20;
                break;
            case ACC_F16:
                got = trcpu_widen(((uint32_t *)d[i / 2])[lane] >> (16 * (i % 2)), TRCPU_F16);
                allowed = fabs(exact) * 0x1p-11 + scale * 0x1p-20;
                break;
            case ACC_SAT: exact = fmin(fmax(exact, INT32_MIN), INT32_MAX); /* fall through */
            default:
                if (exact > INT32_MAX) exact -= 0x1p32;
                if (exact < INT32_MIN) exact += 0x1p32;
                got = ((int32_t *)d[i])[lane];
                allowed = 0;
            }
            if (!(fabs(got - exact) <= allowed))
                fail_msg("%s lane %d element %d: %.9g, not %.9g", opcode, lane, i, got, exact);
        }
}

static void every_form(void **state) {
    (void)state;
    static const test_case tests[] = {
        {"f32.f16.f16.f32", K_F16, K_F16, ACC_F32, 16, 16},
        {"f32.f16.f16.f32", K_F16, K_F16, ACC_F32, 16, 8},
        {"f16.f16.f16.f16", K_F16, K_F16, ACC_F16, 16, 16},
        {"f16.f16.f16.f16", K_F16, K_F16, ACC_F16, 16, 8},
        {"f32.bf16.bf16.f32", K_BF16, K_BF16, ACC_F32, 16, 16},
        {"f32.bf16.bf16.f32", K_BF16, K_BF16, ACC_F32, 16, 8},
        {"f32.tf32.tf32.f32", K_TF32, K_TF32, ACC_F32, 16, 8},
        {"f32.tf32.tf32.f32", K_TF32, K_TF32, ACC_F32, 16, 4},
        {"f32.e4m3.e4m3.f32", K_E4M3, K_E4M3, ACC_F32, 16, 32},
        {"f32.e4m3.e5m2.f32", K_E4M3, K_E5M2, ACC_F32, 16, 32},
        {"f32.e5m2.e4m3.f32", K_E5M2, K_E4M3, ACC_F32, 16, 32},
        {"f32.e5m2.e5m2.f32", K_E5M2, K_E5M2, ACC_F32, 16, 16},
        {"f16.e4m3.e5m2.f16", K_E4M3, K_E5M2, ACC_F16, 16, 32},
        {"f16.e5m2.e5m2.f16", K_E5M2, K_E5M2, ACC_F16, 16, 16},
        {"s32.s8.s8.s32", K_S8, K_S8, ACC_S32, 16, 32},
        {"s32.s8.u8.s32", K_S8, K_U8, ACC_S32, 16, 32},
        {"s32.u8.s8.s32", K_U8, K_S8, ACC_S32, 16, 16},
        {"s32.u8.u8.s32", K_U8, K_U8, ACC_S32, 8, 16},
        {"satfinite.s32.s8.s8.s32", K_S8, K_S8, ACC_SAT, 16, 32},
        {"satfinite.s32.u8.u8.s32", K_U8, K_U8, ACC_SAT, 16, 16},
        {"satfinite.s32.s8.u8.s32", K_S8, K_U8, ACC_SAT, 8, 16},
        {"f64.f64.f64.f64", K_F64, K_F64, ACC_F64, 8, 4},
        {"f64.f64.f64.f64", K_F64, K_F64, ACC_F64, 16, 4},
        {"f64.f64.f64.f64", K_F64, K_F64, ACC_F64, 16, 8},
        {"f64.f64.f64.f64", K_F64, K_F64, ACC_F64, 16, 16},
    };
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
        for (int round = 0; round < 50; round++) check_form(&tests[i]);
    assert_null(trcpu_mma_find("mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32"));
}

/* d = c + products, added in ascending k: a sum in f32 whose order shows. */
static void order_is_ascending(void **state) {
    (void)state;
    uint32_t a[4][32] = {0}, b[2][32] = {0}, c[4][32] = {0};
    const uint32_t big = 0x7800, one = 0x3c00; /* 32768, 1 in f16 */
    for (int lane = 0; lane < 32; lane++) {
        a[0][lane] = lane % 4 == 0 ? big | big << 16 : one | one << 16;        /* k 0 … 7 of rows 0 … 7 */
        b[0][lane] = lane % 4 == 0 ? 0x6c00 | 0xec00u << 16 : one | one << 16; /* +4096, -4096, then 1 */
        c[0][lane] = trcpu_bits(1.0f);
    }
    const void *rows_a[] = {a[0], a[1], a[2], a[3]}, *rows_b[] = {b[0], b[1]};
    void *rows_c[] = {c[0], c[1], c[2], c[3]};
    trcpu_mma_find("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
        ->run(rows_c, rows_a, rows_b, (const void *const *)rows_c);
    /* 1 + 2^27 loses the 1; -2^27 brings 0; six ones remain. */
    assert_true(trcpu_float(c[0][0]) == 6.0f);
}

static void special_values(void **state) {
    (void)state;
    uint32_t a[4][32] = {0}, b[2][32] = {0}, c[4][32] = {0};
    for (int lane = 0; lane < 32; lane++) b[0][lane] = 0x3c00; /* ones at even k */
    a[0][0] = 0x7c00;                                          /* row 0: infinity */
    a[0][4] = 0x7e00;                                          /* row 1: NaN */
    a[0][8] = 0x0001;                                          /* row 2: the least subnormal */
    a[0][12] = 0x00000000;                                     /* row 3: zero */
    const void *rows_a[] = {a[0], a[1], a[2], a[3]}, *rows_b[] = {b[0], b[1]};
    void *rows_c[] = {c[0], c[1], c[2], c[3]};
    trcpu_mma_find("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
        ->run(rows_c, rows_a, rows_b, (const void *const *)rows_c);
    assert_true(isinf(trcpu_float(c[0][0])));
    assert_true(isnan(trcpu_float(c[0][4])));
    assert_true(trcpu_float(c[0][8]) == 0x1p-24f);
    assert_true(c[0][12] == 0);
}

static void matrices_move(void **state) {
    (void)state;
    uint8_t memory[32][32], back[32][32];
    const uint8_t *from[32];
    uint8_t *to[32];
    for (int i = 0; i < 32; i++) {
        from[i] = memory[(i * 5 + 3) % 32];
        to[i] = back[(i * 5 + 3) % 32];
        for (int j = 0; j < 32; j++) memory[i][j] = (uint8_t)next_random();
    }
    for (int transposed = 0; transposed < 2; transposed++) {
        uint32_t rows[4][32];
        uint32_t *d[] = {rows[0], rows[1], rows[2], rows[3]};
        trcpu_ldmatrix(d, from, 4, transposed);
        for (int i = 0; i < 4; i++)
            for (int lane = 0; lane < 32; lane++)
                for (int half = 0; half < 2; half++) {
                    int row = lane / 4, column = 2 * (lane % 4) + half;
                    uint16_t expected;
                    if (transposed)
                        memcpy(&expected, from[8 * i + column] + 2 * row, 2);
                    else
                        memcpy(&expected, from[8 * i + row] + 2 * column, 2);
                    assert_int_equal(rows[i][lane] >> (16 * half) & 0xffff, expected);
                }
        memset(back, 0, sizeof back);
        trcpu_stmatrix(to, (const uint32_t *const *)d, 4, transposed);
        for (int i = 0; i < 32; i++) assert_memory_equal(to[i], from[i], 16);
        uint32_t once[32], twice[32];
        trcpu_movmatrix(once, rows[0]);
        trcpu_ldmatrix(d, from, 1, !transposed);
        assert_memory_equal(once, rows[0], sizeof once);
        trcpu_movmatrix(twice, once);
        trcpu_ldmatrix(d, from, 1, transposed);
        assert_memory_equal(twice, rows[0], sizeof twice);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form),
        cmocka_unit_test(order_is_ascending),
        cmocka_unit_test(special_values),
        cmocka_unit_test(matrices_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
