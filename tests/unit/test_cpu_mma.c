/* Every mma form against a float64 (or int64) product, with the fragments laid out element by element as the
   PTX manual's tables say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "machine/numeric.h"
#include "lanes.h"

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

static void check_form(const trcpu_variant *variant, const test_case *test) {
    char opcode[96];
    snprintf(opcode, sizeof opcode, "mma.sync.aligned.m%dn8k%d.row.col.%s", test->m, test->k, test->types);
    const trcpu_form *form = find_form(variant, opcode, NULL);
    if (!form) fail_msg("no form %s", opcode);
    bool wide = test->accumulator == ACC_F64;
    int each_a = elements_of(test->a), each_b = elements_of(test->b);
    int count_a = test->m * test->k / 32, count_b = 8 * test->k / 32, count_c = test->m * 8 / 32;
    int rows_a = count_a / each_a, rows_b = count_b / each_b;
    int rows_c = test->accumulator == ACC_F16 ? count_c / 2 : count_c;
    char operands[64];
    snprintf(operands, sizeof operands, "{%.*s}={%.*s}{%.*s}{%.*s}", rows_c, wide ? "dddd" : "wwww", rows_a,
             wide ? "dddddddd" : "wwww", rows_b, wide ? "dddd" : "wwww", rows_c, wide ? "dddd" : "wwww");
    assert_string_equal(form->operands, operands);

    static lane_bench bench;
    lane_bench_set(&bench, form, NULL, 0);
    char(*row_a)[256] = bench.file + rows_c, (*row_b)[256] = row_a + rows_a, (*row_c)[256] = bench.file;
    for (int i = 0; i < rows_c; i++)
        bench.offsets[rows_c + rows_a + rows_b + i] = bench.offsets[i]; /* in place */
    double a[16][32], b[32][8], c[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        uint64_t bits;
        for (int i = 0; i < count_a; i++) {
            place at = place_a(test->a, test->m, test->k, i, g, t);
            a[at.row][at.column] = pick(test->a, &bits);
            set_element(row_a[i / each_a], wide, lane, i, each_a, bits);
        }
        for (int i = 0; i < count_b; i++) {
            place at = place_b(test->b, i, g, t);
            b[at.row][at.column] = pick(test->b, &bits);
            set_element(row_b[i / each_b], wide, lane, i, each_b, bits);
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
            set_element(row_c[i / each], wide, lane, i, each, bits);
        }
    }
    assert_true(lane_bench_run(&bench));

    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < count_c; i++) {
            place at = place_c(i, lane / 4, lane % 4);
            double scale, exact = c[at.row][at.column];
            exact += multiply_reference(a, b, at.row, at.column, test->k, &scale);
            scale += fabs(c[at.row][at.column]);
            double got, allowed;
            switch (test->accumulator) {
            case ACC_F64:
                memcpy(&got, &((uint64_t *)(void *)row_c[i])[lane], 8);
                allowed = scale * 0x1p-48;
                break;
            case ACC_F32:
                got = trcpu_float(((uint32_t *)(void *)row_c[i])[lane]);
                allowed = scale * 0x1p-20;
                break;
            case ACC_F16:
                got = trcpu_widen(((uint32_t *)(void *)row_c[i / 2])[lane] >> (16 * (i % 2)), TRCPU_F16);
                allowed = fabs(exact) * 0x1p-11 + scale * 0x1p-20;
                break;
            case ACC_SAT: exact = fmin(fmax(exact, INT32_MIN), INT32_MAX); /* fall through */
            default:
                if (exact > INT32_MAX) exact -= 0x1p32;
                if (exact < INT32_MIN) exact += 0x1p32;
                got = ((int32_t *)(void *)row_c[i])[lane];
                allowed = 0;
            }
            if (!(fabs(got - exact) <= allowed))
                fail_msg("%s %s lane %d element %d: %.9g, not %.9g", variant->name, opcode, lane, i, got,
                         exact);
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
    for (int v = 0; variant_at(v); v++)
        for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
            for (int round = 0; round < 50; round++) check_form(variant_at(v), &tests[i]);
    assert_null(find_form(variant_at(0), "mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32", NULL));
}

static uint32_t *row_of(lane_bench *bench, int i) {
    return (uint32_t *)(void *)bench->file[i];
}

/* d = c + products, added in ascending k: a sum in f32 whose order shows. */
static void order_is_ascending(void **state) {
    (void)state;
    static lane_bench bench;
    const uint32_t big = 0x7800, one = 0x3c00; /* 32768, 1 in f16 */
    for (int v = 0; variant_at(v); v++) {
        lane_bench_set(&bench,
                       find_form(variant_at(v), "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", NULL),
                       NULL, 0);
        for (int lane = 0; lane < 32; lane++) {
            row_of(&bench, 4)[lane] =
                lane % 4 == 0 ? big | big << 16 : one | one << 16; /* k 0 … 7, rows 0 … 7 */
            row_of(&bench, 8)[lane] =
                lane % 4 == 0 ? 0x6c00 | 0xec00u << 16 : one | one << 16; /* 4096, -4096, 1 */
            row_of(&bench, 10)[lane] = trcpu_bits(1.0f);
        }
        assert_true(lane_bench_run(&bench));
        /* 1 + 2^27 loses the 1; -2^27 brings 0; six ones remain. */
        assert_true(trcpu_float(row_of(&bench, 0)[0]) == 6.0f);
    }
}

static void special_values(void **state) {
    (void)state;
    static lane_bench bench;
    for (int v = 0; variant_at(v); v++) {
        lane_bench_set(&bench,
                       find_form(variant_at(v), "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", NULL),
                       NULL, 0);
        for (int lane = 0; lane < 32; lane++) row_of(&bench, 8)[lane] = 0x3c00; /* ones at even k */
        row_of(&bench, 4)[0] = 0x7c00;                                          /* row 0: infinity */
        row_of(&bench, 4)[4] = 0x7e00;                                          /* row 1: NaN */
        row_of(&bench, 4)[8] = 0x0001; /* row 2: the least subnormal */
        assert_true(lane_bench_run(&bench));
        assert_true(isinf(trcpu_float(row_of(&bench, 0)[0])));
        assert_true(isnan(trcpu_float(row_of(&bench, 0)[4])));
        assert_true(trcpu_float(row_of(&bench, 0)[8]) == 0x1p-24f);
        assert_true(row_of(&bench, 0)[12] == 0);
    }
}

/* ---- products that follow each other ---- */
enum { ROW_MOST = 24, REGISTERS = 40 };

typedef struct product_row {
    trcpu_function function;
    trcpu_insn code[ROW_MOST];
    uint32_t rows[ROW_MOST][LANE_ROWS];
} product_row;

/* Operands of few registers, so that they are often the same; now and then what an earlier one wrote. */
static void make_product_row(product_row *row, const trcpu_form *form) {
    memset(row, 0, sizeof *row);
    row->function = (trcpu_function){.code = row->code, .code_size = 1 + next_random() % ROW_MOST};
    for (uint32_t i = 0; i < row->function.code_size; i++) {
        const uint32_t b_count = form->mode, a_count = 2 * b_count;
        uint32_t *d = row->rows[i], *a = d + 4, *b = a + a_count, *c = b + b_count;
        uint32_t first_a = next_random() % 3 * 4, first_b = 12 + next_random() % 10 * 2,
                 first_d = next_random() % 2;
        if (next_random() % 16 == 0) first_a = 32;
        if (next_random() % 16 == 0) first_b = 34;
        for (uint32_t k = 0; k < a_count; k++) a[k] = 256 * (first_a + k);
        for (uint32_t k = 0; k < b_count; k++) b[k] = 256 * (first_b + k);
        for (uint32_t k = 0; k < 4; k++) d[k] = c[k] = 256 * (32 + 4 * first_d + k);
        if (next_random() % 4 == 0)
            for (uint32_t k = 0; k < 4; k++) c[k] = 256 * (32 + (next_random() >> 3) % 8);
        row->code[i] = (trcpu_insn){.run = form->run,
                                    .mode = form->mode,
                                    .rows = d,
                                    .flags = TRCPU_IS_PRODUCT,
                                    .guard = i > 12 ? 4 : 0};
    }
}

static void run_products(lane_bench *bench, const product_row *row, uint32_t from) {
    const trcpu_insn *end = row->code + row->function.code_size;
    for (const trcpu_insn *insn = row->code + from; insn != end;) {
        insn = insn->run(&bench->warp, insn, ~0u);
        assert_true(insn <= end);
    }
}

/* A row gives what its products give one by one, wherever it is entered. */
static void rows_agree(void **state) {
    (void)state;
    static const char *const opcodes[] = {"16.row.col.f32.f16.f16.f32", "8.row.col.f32.bf16.bf16.f32",
                                          "8.row.col.f32.tf32.tf32.f32", "32.row.col.f32.e4m3.e5m2.f32"};
    static lane_bench alone, together;
    static product_row row;
    uint64_t joined = 0;
    for (int v = 0; variant_at(v); v++)
        for (int round = 0; round < 1000; round++) {
            char opcode[96];
            snprintf(opcode, sizeof opcode, "mma.sync.aligned.m16n8k%s", opcodes[round % 4]);
            const trcpu_form *form = find_form(variant_at(v), opcode, NULL);
            assert_non_null(form);
            make_product_row(&row, form);
            lane_bench_set(&alone, form, NULL, 0);
            for (int i = 0; i < REGISTERS; i++)
                for (int lane = 0; lane < 32; lane++)
                    row_of(&alone, i)[lane] =
                        (next_random() & 0x83ff83ff) | (i < 32 ? 0x38003800 : 0x3f000000);
            lane_bench_set(&together, form, NULL, 0);
            memcpy(together.file, alone.file, sizeof alone.file);
            const uint32_t from = next_random() % row.function.code_size;
            run_products(&alone, &row, from);
            trcpu_products_join(&row.function);
            for (uint32_t i = 0; i < row.function.code_size; i++) joined += (uint64_t)row.code[i].imm;
            run_products(&together, &row, from);
            for (int i = 0; i < REGISTERS; i++)
                for (int lane = 0; lane < 32; lane++) {
                    uint32_t x = row_of(&alone, i)[lane], y = row_of(&together, i)[lane];
                    if (x != y && !(isnan(trcpu_float(x)) && isnan(trcpu_float(y))))
                        fail_msg("%s %s round %d register %d lane %d: %08x, not %08x", variant_at(v)->name,
                                 opcode, round, i, lane, y, x);
                }
        }
    assert_true(joined > 1000);
}

/* Addresses at row `row`, matrices from row `first` on. */
static void check_matrices(const trcpu_variant *variant, bool transposed) {
    static lane_bench bench;
    static _Alignas(16) char shared[32 * 32], before[32 * 32];
    for (unsigned i = 0; i < sizeof shared; i++) before[i] = shared[i] = (char)next_random();
    lane_bench_set(&bench, find_form(variant, "ldmatrix.sync.aligned.m8n8.x4.shared.b16", NULL), shared,
                   sizeof shared);
    bench.insn.flags = transposed ? TRCPU_HAS_TRANS : 0;
    bench.insn.imm = 16;
    for (uint32_t lane = 0; lane < 32; lane++) row_of(&bench, 4)[lane] = (lane * 5 + 3) % 32 * 32;
    assert_true(lane_bench_run(&bench));
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t lane = 0; lane < 32; lane++)
            for (uint32_t half = 0; half < 2; half++) {
                uint32_t row = lane / 4, column = 2 * (lane % 4) + half, swap = row;
                if (transposed) row = column, column = swap;
                uint16_t expected;
                memcpy(&expected, shared + row_of(&bench, 4)[8 * i + row] + 16 + 2 * column, 2);
                assert_int_equal(row_of(&bench, (int)i)[lane] >> (16 * half) & 0xffff, expected);
            }
    static lane_bench back;
    lane_bench_set(&back, find_form(variant, "stmatrix.sync.aligned.m8n8.x4.shared.b16", NULL), shared,
                   sizeof shared);
    back.insn.flags = bench.insn.flags;
    back.insn.imm = 16;
    memcpy(back.file[0], bench.file[4], sizeof back.file[0]);
    memcpy(back.file[1], bench.file[0], 4 * sizeof back.file[0]);
    for (uint32_t row = 0; row < 32; row++) memset(shared + 32 * row + 16, 0, 16);
    assert_true(lane_bench_run(&back));
    assert_memory_equal(shared, before, sizeof shared);
}

static void matrices_move(void **state) {
    (void)state;
    for (int v = 0; variant_at(v); v++) {
        check_matrices(variant_at(v), false);
        check_matrices(variant_at(v), true);
        static lane_bench bench;
        lane_bench_set(&bench, find_form(variant_at(v), "movmatrix.sync.aligned.m8n8.trans.b16", NULL), NULL,
                       0);
        for (uint32_t lane = 0; lane < 32; lane++) row_of(&bench, 1)[lane] = 2 * lane | (2 * lane + 1) << 16;
        assert_true(lane_bench_run(&bench));
        for (uint32_t lane = 0; lane < 32; lane++)
            assert_int_equal(row_of(&bench, 0)[lane],
                             (lane % 4 * 16 + lane / 4) | (lane % 4 * 16 + 8 + lane / 4) << 16);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form), cmocka_unit_test(order_is_ascending), cmocka_unit_test(special_values),
        cmocka_unit_test(rows_agree), cmocka_unit_test(matrices_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
