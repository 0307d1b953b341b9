/* mma.sync. Arithmetic: with an f32 accumulator, d = c, then the products are added in ascending k, each by one fused
   multiply-add in f32 (a CPU without FMA rounds twice where a product is subnormal; else products of these formats are
   exact). With an f16 accumulator the same in f32 from the widened c, rounded to f16 once at the end. f64: fused
   multiply-adds in ascending k. Integers: exact; the 32-bit result wraps, or is clamped with .satfinite. Tensor cores
   add several products at once and cut the sum off below a common exponent, so theirs differ in the last bits. tf32
   operands: the low 13 bits are ignored. */
#include "machine/lanes/fragment.h"
#include "machine/lanes/lanes.h"

/* The operands of a product of `rows` register pairs (one register where m is 8); answers the quads filled.
 */
TRCPU_INLINE int load_operands(operand_a *a, operand_b *b, const void *const *a_rows,
                               const void *const *b_rows, int halves, int rows, element of_a, element of_b) {
    const int units = units_of(of_a);
    for (int i = 0; i < rows; i++) {
        for (int half = 0; half < halves; half++)
            expand_a((float(*)[64])(void *)(a->value[units * i] + 32 * half), a_rows[halves * i + half],
                     of_a);
        expand_b(b, units * i, b_rows[i], of_b);
    }
    return units * rows;
}

/* The operands that a row of mma shares, each opened once. */
typedef struct opened {
    operand_a a;
    operand_b b[TRCPU_PRODUCT_OPERANDS];
    uint32_t last_a, have_b;
} opened;

TRCPU_INLINE void open_operands(opened *o, const trcpu_warp *warp, const trcpu_insn *insn, int rows,
                                element of_a, element of_b) {
    const int units = units_of(of_a);
    const uint32_t *a_rows = insn->rows + 4, *b_rows = a_rows + 2 * rows;
    const uint32_t number_a = insn->slot >> 8, number_b = insn->slot & 255;
    if (o->last_a != number_a)
        for (int i = 0; i < 2 * rows; i++)
            expand_a((float(*)[64])(void *)(o->a.value[units * (i / 2)] + 32 * (i % 2)),
                     ROW_AT(uint32_t, a_rows[i]), of_a);
    if (!(o->have_b >> number_b & 1))
        for (int i = 0; i < rows; i++)
            expand_b(&o->b[number_b], units * i, ROW_AT(uint32_t, b_rows[i]), of_b);
    o->last_a = number_a;
    o->have_b |= 1u << number_b;
}

TRCPU_INLINE void find_accumulators(float *to[4], float *from[4], const trcpu_warp *warp,
                                    const trcpu_insn *insn, int rows) {
    for (int i = 0; i < 4; i++) {
        to[i] = ROW_AT(float, insn->rows[i]);
        from[i] = ROW_AT(float, insn->rows[4 + 3 * rows + i]);
    }
}

/* This mma and those behind it that decode.c found to go with it. */
TRCPU_INLINE const trcpu_insn *mma_f32(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, int rows,
                                       element of_a, element of_b) {
    opened o;
    float *to[2][4], *from[2][4], c[2][64];
    const trcpu_insn *last = warp->launch->counters ? insn : insn + insn->imm;
    if (mask != warp->live) return apart(warp, insn, mask);
    o.last_a = ~0u, o.have_b = 0;
    for (int n; insn <= last; insn += n) {
        const operand_b *b[2] = {&o.b[insn->slot & 255]};
        open_operands(&o, warp, insn, rows, of_a, of_b);
        find_accumulators(to[0], from[0], warp, insn, rows);
        n = together == 2 && insn < last && insn->flags & TRCPU_PAIRS ? 2 : 1;
        if (n == 2) {
            b[1] = &o.b[insn[1].slot & 255];
            open_operands(&o, warp, insn + 1, rows, of_a, of_b);
            find_accumulators(to[1], from[1], warp, insn + 1, rows);
            multiply_rows(together, (float *const(*)[4])to, (float *const(*)[4])from, &o.a, b,
                          units_of(of_a) * rows);
            continue;
        }
        for (int i = 0; i < 4 && passes > 1; i++) {
            memcpy(&c[i & 1][i >> 1 << 5], from[0][i], 128);
            from[0][i] = &c[i & 1][i >> 1 << 5];
        }
        multiply_rows(1, (float *const(*)[4])to, (float *const(*)[4])from, &o.a, b, units_of(of_a) * rows);
    }
    return insn;
}

TRCPU_INLINE void mma_f16(void *const *d, const void *const *a_rows, const void *const *b_rows,
                          const void *const *c_rows, int rows, element of_a, element of_b) {
    operand_a a;
    operand_b b;
    float c[2][64];
    int quads = load_operands(&a, &b, a_rows, b_rows, 2, rows, of_a, of_b);
    for (int i = 0; i < 2; i++) widen_halves(&c[0][32 * i], &c[1][32 * i], c_rows[i]);
    multiply(c, &a, &b, quads);
    for (int i = 0; i < 2; i++) narrow_halves(d[i], &c[0][32 * i], &c[1][32 * i]);
}

TRCPU_INLINE void mma_s32(void *const *d, const void *const *a_rows, const void *const *b_rows,
                          const void *const *c_rows, int halves, int rows, element of_a, element of_b,
                          bool saturate) {
    operand_a a;
    operand_b b;
    float bits[2][64] = {0};
    if (halves == 1) memset(&a, 0, sizeof a);
    int quads = load_operands(&a, &b, a_rows, b_rows, halves, rows, of_a, of_b);
    multiply_pairs(bits, &a, &b, quads);
    int32_t out[4][32];
    for (int i = 0; i < 2 * halves; i++) {
        int32_t products[32], c[32];
        memcpy(products, &bits[i & 1][i >> 1 << 5], sizeof products);
        memcpy(c, c_rows[i], sizeof c);
        for (int lane = 0; lane < 32; lane++) {
            int32_t sum = (int32_t)((uint32_t)c[lane] + (uint32_t)products[lane]);
            bool overflow = ((c[lane] ^ sum) & (products[lane] ^ sum)) < 0;
            out[i][lane] = saturate && overflow ? (c[lane] < 0 ? INT32_MIN : INT32_MAX) : sum;
        }
    }
    for (int i = 0; i < 2 * halves; i++) memcpy(d[i], out[i], sizeof out[i]);
}

TRCPU_INLINE void mma_f64(void *const *d, const void *const *a_rows, const void *const *b_rows,
                          const void *const *c_rows, int m, int k) {
    const int halves = m / 8;
    double out[4][32];
    for (int i = 0; i < 2 * halves; i++) {
        memcpy(out[i], c_rows[i], sizeof out[i]);
        for (int lane = 0; lane < 32; lane++)
            for (int at = 0; at < k; at++) {
                const double *a = a_rows[halves * (at / 4) + (i >> 1)], *b = b_rows[at / 4];
                int column = 2 * (lane & 3) + (i & 1);
                out[i][lane] = fma(a[(lane & ~3) + at % 4], b[4 * column + at % 4], out[i][lane]);
            }
    }
    for (int i = 0; i < 2 * halves; i++) memcpy(d[i], out[i], sizeof out[i]);
}

/* ---- the forms ---- */
/* D, A, B, C: registers of each. */
#define DEFINE(name, D, A, B, C, call)                                                                       \
    HANDLER(name) {                                                                                          \
        void *rows[D + A + B + C];                                                                           \
        if (mask != warp->live) return apart(warp, insn, mask);                                              \
        for (int i = 0; i < D + A + B + C; i++) rows[i] = warp->file + insn->rows[i];                        \
        void *const *d = rows;                                                                               \
        const void *const *a = (const void *const *)rows + D, *const *b = a + A, *const *c = b + B;          \
        call;                                                                                                \
        return insn + 1;                                                                                     \
    }
/* `count`: registers of B, 16 bytes of k each; A has two for each, the rows' upper and lower eight. */
#define DEFINE_F32(name, count, A, B)                                                                        \
    HANDLER(f32_##name) {                                                                                    \
        return mma_f32(warp, insn, mask, count, A, B);                                                       \
    }
#define DEFINE_F16(name, count, A, B)                                                                        \
    DEFINE(f16_##name, 2, 2 * count, count, 2, mma_f16(d, a, b, c, count, A, B))
#define DEFINE_FP8(A, B)                                                                                     \
    DEFINE_F32(A##_##B##_16, 1, A, B)                                                                        \
    DEFINE_F16(A##_##B##_16, 1, A, B)                                                                        \
    DEFINE_F32(A##_##B##_32, 2, A, B)                                                                        \
    DEFINE_F16(A##_##B##_32, 2, A, B)
#define DEFINE_INTEGER(m, k, A, B)                                                                           \
    DEFINE(s32_##A##_##B##_##m##_##k, m / 4, m * k / 128, k / 16, m / 4,                                     \
           mma_s32(d, a, b, c, m / 8, k / 16, A, B, false))                                                  \
    DEFINE(sat_##A##_##B##_##m##_##k, m / 4, m * k / 128, k / 16, m / 4,                                     \
           mma_s32(d, a, b, c, m / 8, k / 16, A, B, true))
#define DEFINE_INTEGERS(m, k)                                                                                \
    DEFINE_INTEGER(m, k, S8, S8)                                                                             \
    DEFINE_INTEGER(m, k, S8, U8)                                                                             \
    DEFINE_INTEGER(m, k, U8, S8)                                                                             \
    DEFINE_INTEGER(m, k, U8, U8)
#define DEFINE_F64(m, k) DEFINE(f64_##m##_##k, m / 4, m * k / 32, k / 4, m / 4, mma_f64(d, a, b, c, m, k))

DEFINE_F32(F16_F16_8, 1, F16, F16)
DEFINE_F32(F16_F16_16, 2, F16, F16)
DEFINE_F16(F16_F16_8, 1, F16, F16)
DEFINE_F16(F16_F16_16, 2, F16, F16)
DEFINE_F32(BF16_BF16_8, 1, BF16, BF16)
DEFINE_F32(BF16_BF16_16, 2, BF16, BF16)
DEFINE_F32(TF32_TF32_4, 1, TF32, TF32)
DEFINE_F32(TF32_TF32_8, 2, TF32, TF32)
DEFINE_FP8(E4M3, E4M3)
DEFINE_FP8(E4M3, E5M2)
DEFINE_FP8(E5M2, E4M3)
DEFINE_FP8(E5M2, E5M2)
DEFINE_INTEGERS(8, 16)
DEFINE_INTEGERS(16, 16)
DEFINE_INTEGERS(16, 32)
DEFINE_F64(8, 4)
DEFINE_F64(16, 4)
DEFINE_F64(16, 8)
DEFINE_F64(16, 16)

#define PRODUCT     TRCPU_FORM_PRODUCT
#define SHAPE(m, k) "mma.sync.aligned.m" #m "n8k" #k ".row.col."
#define FP8(a, b, A, B)                                                                                      \
    {SHAPE(16, 16) "f32." a "." b ".f32", "{wwww}={ww}{w}{wwww}", f32_##A##_##B##_16, 1, PRODUCT},           \
        {SHAPE(16, 16) "f16." a "." b ".f16", "{ww}={ww}{w}{ww}", f16_##A##_##B##_16, 0, 0},                 \
        {SHAPE(16, 32) "f32." a "." b ".f32", "{wwww}={wwww}{ww}{wwww}", f32_##A##_##B##_32, 2, PRODUCT}, {  \
        SHAPE(16, 32) "f16." a "." b ".f16", "{ww}={wwww}{ww}{ww}", f16_##A##_##B##_32, 0, 0                 \
    }
#define INTEGER(m, k, operands, a, b, A, B)                                                                  \
    {SHAPE(m, k) "s32." a "." b ".s32", operands, s32_##A##_##B##_##m##_##k, 0, 0}, {                        \
        SHAPE(m, k) "satfinite.s32." a "." b ".s32", operands, sat_##A##_##B##_##m##_##k, 0, 0               \
    }
#define INTEGERS(m, k, operands)                                                                             \
    INTEGER(m, k, operands, "s8", "s8", S8, S8), INTEGER(m, k, operands, "s8", "u8", S8, U8),                \
        INTEGER(m, k, operands, "u8", "s8", U8, S8), INTEGER(m, k, operands, "u8", "u8", U8, U8)

FORMS(mma){
    {SHAPE(16, 8) "f32.f16.f16.f32", "{wwww}={ww}{w}{wwww}", f32_F16_F16_8, 1, PRODUCT},
    {SHAPE(16, 16) "f32.f16.f16.f32", "{wwww}={wwww}{ww}{wwww}", f32_F16_F16_16, 2, PRODUCT},
    {SHAPE(16, 8) "f16.f16.f16.f16", "{ww}={ww}{w}{ww}", f16_F16_F16_8, 0, 0},
    {SHAPE(16, 16) "f16.f16.f16.f16", "{ww}={wwww}{ww}{ww}", f16_F16_F16_16, 0, 0},
    {SHAPE(16, 8) "f32.bf16.bf16.f32", "{wwww}={ww}{w}{wwww}", f32_BF16_BF16_8, 1, PRODUCT},
    {SHAPE(16, 16) "f32.bf16.bf16.f32", "{wwww}={wwww}{ww}{wwww}", f32_BF16_BF16_16, 2, PRODUCT},
    {SHAPE(16, 4) "f32.tf32.tf32.f32", "{wwww}={ww}{w}{wwww}", f32_TF32_TF32_4, 1, PRODUCT},
    {SHAPE(16, 8) "f32.tf32.tf32.f32", "{wwww}={wwww}{ww}{wwww}", f32_TF32_TF32_8, 2, PRODUCT},
    FP8("e4m3", "e4m3", E4M3, E4M3),
    FP8("e4m3", "e5m2", E4M3, E5M2),
    FP8("e5m2", "e4m3", E5M2, E4M3),
    FP8("e5m2", "e5m2", E5M2, E5M2),
    INTEGERS(8, 16, "{ww}={w}{w}{ww}"),
    INTEGERS(16, 16, "{wwww}={ww}{w}{wwww}"),
    INTEGERS(16, 32, "{wwww}={wwww}{ww}{wwww}"),
    {SHAPE(8, 4) "f64.f64.f64.f64", "{dd}={d}{d}{dd}", f64_8_4, 0, 0},
    {SHAPE(16, 4) "f64.f64.f64.f64", "{dddd}={dd}{d}{dddd}", f64_16_4, 0, 0},
    {SHAPE(16, 8) "f64.f64.f64.f64", "{dddd}={dddd}{dd}{dddd}", f64_16_8, 0, 0},
    {SHAPE(16, 16) "f64.f64.f64.f64", "{dddd}={dddddddd}{dddd}{dddd}", f64_16_16, 0, 0},
    END_OF_FORMS,
};
