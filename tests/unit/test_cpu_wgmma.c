/* wgmma against a float64 product. Shared memory is written as TMA writes it: tiles whose rows are as long as the
   swizzle, 16-byte pieces displaced by the tile-copy's own rule; without swizzle in groups of eight rows of 16 bytes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "machine/numeric.h"
#include "machine/tensor_map.h"
#include "lanes.h"

enum { shared_bytes = 1 << 17, a_start = 1024, b_start = 1 << 16 };
static char shared[shared_bytes];

static uint32_t next_random(void) {
    static uint64_t state = 0x853c49e6748fea9b;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

typedef enum kind { K_F16, K_BF16, K_TF32, K_E4M3, K_E5M2, K_S8, K_U8 } kind;

static uint32_t bytes_of(kind of) {
    return of <= K_BF16 ? 2 : of == K_TF32 ? 4 : 1;
}

static double pick(kind of, uint32_t *bits) {
    uint32_t r = next_random();
    *bits = r & 0xff;
    if (of == K_S8) return (int8_t)r;
    if (of == K_U8) return (uint8_t)r;
    static const trcpu_format formats[] = {TRCPU_F16, TRCPU_BF16, TRCPU_TF32, TRCPU_E4M3, TRCPU_E5M2};
    double value = ((double)next_random() - 0x40000000) * 0x1p-30;
    *bits = trcpu_narrow_double(value, formats[of], TRCPU_ROUND_NEAREST, TRCPU_SATFINITE);
    return trcpu_widen(*bits, formats[of]);
}

/* Puts element (row of m or n, k) where a tile copy would, and answers the descriptor. */
typedef struct operand {
    uint32_t start, swizzle, rows, k_total, element;
    bool transposed;
} operand;

static uint32_t address_of(const operand *o, uint32_t row, uint32_t k) {
    uint32_t outer = o->transposed ? k : row, inner = (o->transposed ? row : k) * o->element;
    uint32_t outer_count = o->transposed ? o->k_total : o->rows;
    if (o->swizzle ==
        TRCPU_SWIZZLE_NONE) /* groups one after the other along the outer side, then the inner */
        return o->start + inner / 16 * (outer_count * 16) + outer * 16 + inner % 16;
    uint32_t width = 16u << o->swizzle;
    return trcpu_swizzled(o->start + inner / width * (outer_count * width) + outer * width + inner % width,
                          (trcpu_swizzle)o->swizzle);
}

static uint64_t descriptor_of(const operand *o, uint32_t k) {
    static const uint64_t modes[] = {0, 3, 2, 1};
    uint32_t width = o->swizzle ? 16u << o->swizzle : 16, outer_count = o->transposed ? o->k_total : o->rows;
    uint64_t leading = outer_count * width, stride = 8 * width;
    uint32_t inner = o->transposed ? 0 : k * o->element, outer = o->transposed ? k : 0;
    uint32_t start = o->start + inner / width * (outer_count * width) + outer * width + inner % width;
    if (o->swizzle == TRCPU_SWIZZLE_NONE && o->transposed) {
        uint64_t swap = leading;
        leading = stride;
        stride = swap;
    }
    return (start & 0x3ffff) >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | modes[o->swizzle] << 62;
}

static void put(const operand *o, uint32_t row, uint32_t k, uint32_t bits) {
    memcpy(shared + address_of(o, row, k), &bits, o->element);
}

static bool transposes(kind of) {
    return bytes_of(of) == 2;
}

typedef struct test_case {
    const char *types;
    kind a, b;
    enum { ACC_F32, ACC_F16, ACC_S32 } accumulator;
    uint32_t n;
} test_case;

static uint32_t *row_of(lane_bench *bench, uint32_t i) {
    return (uint32_t *)(void *)bench->file[i];
}

static void set_row(lane_bench *bench, uint32_t i, uint64_t value) {
    for (int lane = 0; lane < 32; lane++) memcpy(bench->file[i] + 8 * lane, &value, 8);
}

static double a[64][128], b[256][128];
static uint32_t a_bits[64][128], b_bits[256][128];

static void check(const trcpu_variant *variant, const test_case *test, uint32_t swizzle_a, uint32_t swizzle_b,
                  bool transposed_a, bool transposed_b, bool from_registers, bool accumulate, bool negate) {
    const uint32_t element = bytes_of(test->a), k = 32 / element, k_total = 4 * k;
    char opcode[96];
    snprintf(opcode, sizeof opcode, "wgmma.mma_async.sync.aligned.m64n%uk%u.%s", test->n, k, test->types);
    const char *operands = transposes(test->a)            ? (from_registers ? "V={wwww}dpwww" : "V=ddpwwww")
                           : test->accumulator == ACC_S32 ? (from_registers ? "V={wwww}dp" : "V=ddp")
                                                          : (from_registers ? "V={wwww}dpww" : "V=ddpww");
    const trcpu_form *form = find_form(variant, opcode, operands);
    if (!form) fail_msg("no form %s", opcode);
    operand left = {a_start, swizzle_a, 64, k_total, element, transposed_a};
    operand right = {b_start, swizzle_b, test->n, k_total, element, transposed_b};
    for (uint32_t at = 0; at < k_total; at++) {
        for (uint32_t row = 0; row < 64; row++) {
            a[row][at] = pick(test->a, &a_bits[row][at]);
            put(&left, row, at, a_bits[row][at]);
        }
        for (uint32_t row = 0; row < test->n; row++) {
            b[row][at] = pick(test->b, &b_bits[row][at]);
            put(&right, row, at, b_bits[row][at]);
        }
    }
    const uint32_t k0 = next_random() % 4 * k, warp = next_random() % 4;
    const uint32_t registers = test->n / (test->accumulator == ACC_F16 ? 4 : 2);
    static lane_bench bench;
    static uint32_t before[128][32];
    lane_bench_set(&bench, form, shared, shared_bytes);
    bench.insn.count = (uint8_t)registers;
    bench.warp.index = warp + 4;
    uint32_t next = 0;
    for (; next < registers; next++)
        for (int lane = 0; lane < 32; lane++) {
            float value = (float)(int32_t)next_random() * 0x1p-30f;
            row_of(&bench, next)[lane] = test->accumulator == ACC_F32 ? trcpu_bits(value)
                                         : test->accumulator == ACC_S32
                                             ? next_random() % 1000
                                             : 0x3c00 + next_random() % 1024 * 0x10001;
            before[next][lane] = row_of(&bench, next)[lane];
        }
    for (uint32_t i = 0; from_registers && i < 4; i++, next++)
        for (uint32_t lane = 0; lane < 32; lane++)
            for (uint32_t j = 0; j < 4 / element; j++)
                row_of(&bench, next)[lane] |= a_bits[16 * warp + lane / 4 + 8 * (i % 2)]
                                                    [k0 + (i / 2) * k / 2 + lane % 4 * (4 / element) + j]
                                              << (8 * element * j);
    if (!from_registers) set_row(&bench, next++, descriptor_of(&left, k0));
    set_row(&bench, next++, descriptor_of(&right, k0));
    *row_of(&bench, next++) = accumulate ? ~0u : 0;
    if (test->accumulator != ACC_S32) {
        for (int lane = 0; lane < 32; lane++) row_of(&bench, next)[lane] = negate ? ~0u : 1;
        for (int lane = 0; lane < 32; lane++) row_of(&bench, next + 1)[lane] = 1;
        next += 2;
    }
    if (transposes(test->a)) {
        for (int lane = 0; lane < 32; lane++)
            row_of(&bench, next)[lane] = from_registers ? transposed_b : transposed_a;
        for (int lane = 0; lane < 32; lane++) row_of(&bench, next + 1)[lane] = transposed_b;
    }
    assert_true(lane_bench_run(&bench));
    for (uint32_t column = 0; column < test->n; column++)
        for (uint32_t row = 0; row < 16; row++) {
            uint32_t lane = row % 8 * 4 + column % 8 / 2, i = column / 8 * 4 + row / 8 * 2 + column % 2;
            double exact = 0, scale = 0, got, old;
            for (uint32_t at = k0; at < k0 + k; at++) {
                exact += a[16 * warp + row][at] * b[column][at];
                scale += fabs(a[16 * warp + row][at] * b[column][at]);
            }
            if (negate) exact = -exact;
            if (test->accumulator == ACC_F16) {
                got = trcpu_widen(row_of(&bench, i / 2)[lane] >> (16 * (i % 2)), TRCPU_F16);
                old = trcpu_widen(before[i / 2][lane] >> (16 * (i % 2)), TRCPU_F16);
            } else if (test->accumulator == ACC_F32) {
                got = trcpu_float(row_of(&bench, i)[lane]);
                old = trcpu_float(before[i][lane]);
            } else {
                got = (int32_t)row_of(&bench, i)[lane];
                old = (int32_t)before[i][lane];
            }
            if (accumulate) exact += old;
            scale += fabs(old);
            double allowed = test->accumulator == ACC_S32   ? 0
                             : test->accumulator == ACC_F32 ? scale * 0x1p-20
                                                            : fabs(exact) * 0x1p-11 + scale * 0x1p-20;
            if (!(fabs(got - exact) <= allowed))
                fail_msg("%s %s swizzle %u %u transposed %d %d: row %u column %u: %g, not %g", variant->name,
                         opcode, swizzle_a, swizzle_b, transposed_a, transposed_b, row, column, got, exact);
        }
}

static void every_form_and_layout(void **state) {
    (void)state;
    static const test_case tests[] = {
        {"f32.f16.f16", K_F16, K_F16, ACC_F32, 128},      {"f32.f16.f16", K_F16, K_F16, ACC_F32, 256},
        {"f32.f16.f16", K_F16, K_F16, ACC_F32, 64},       {"f16.f16.f16", K_F16, K_F16, ACC_F16, 64},
        {"f32.bf16.bf16", K_BF16, K_BF16, ACC_F32, 64},   {"f32.tf32.tf32", K_TF32, K_TF32, ACC_F32, 64},
        {"f32.e4m3.e4m3", K_E4M3, K_E4M3, ACC_F32, 64},   {"f32.e5m2.e4m3", K_E5M2, K_E4M3, ACC_F32, 32},
        {"f16.e4m3.e5m2", K_E4M3, K_E5M2, ACC_F16, 16},   {"s32.s8.s8", K_S8, K_S8, ACC_S32, 8},
        {"s32.u8.s8", K_U8, K_S8, ACC_S32, 64},           {"s32.s8.u8.satfinite", K_S8, K_U8, ACC_S32, 96},
        {"satfinite.s32.u8.u8", K_U8, K_U8, ACC_S32, 24},
    };
    for (uint32_t n = 0; n < 3 * 128 * sizeof tests / sizeof *tests; n++) {
        const test_case *test = &tests[n / 128 % (sizeof tests / sizeof *tests)];
        const trcpu_variant *tested = variant_at((int)(n / 128 / (sizeof tests / sizeof *tests)));
        if (!tested) break;
        uint32_t variant = n % 128;
        bool a_transposed = transposes(test->a) && variant & 1,
             b_transposed = transposes(test->a) && variant & 2;
        uint32_t swizzle_a = variant >> 2 & 3, swizzle_b = variant >> 4 & 3;
        if (b_transposed && test->n * 2 % (16u << swizzle_b)) continue;
        bool registers = !a_transposed && variant & 64;
        check(tested, test, swizzle_a, swizzle_b, a_transposed, b_transposed, registers, variant % 3,
              test->accumulator != ACC_S32 && variant % 5 == 0);
    }
    assert_null(find_form(variant_at(0), "wgmma.mma_async.sync.aligned.m64n12k16.f32.f16.f16", NULL));
    assert_null(find_form(variant_at(0), "wgmma.mma_async.sync.aligned.m64n264k16.f32.f16.f16", NULL));
    assert_null(find_form(variant_at(0), "wgmma.mma_async.sync.aligned.m64n8k8.f32.f16.f16", NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_and_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
