#include "machine/mma.h"

#include <math.h>

#include "machine/fragment.h"

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

TRCPU_INLINE void mma_f32(void *const *d, const void *const *a_rows, const void *const *b_rows,
                          const void *const *c_rows, int rows, element of_a, element of_b) {
    operand_a a;
    operand_b b;
    float c[2][64];
    int quads = load_operands(&a, &b, a_rows, b_rows, 2, rows, of_a, of_b);
    for (int i = 0; i < 4; i++) memcpy(&c[i & 1][i >> 1 << 5], c_rows[i], 128);
    multiply(c, &a, &b, quads);
    for (int i = 0; i < 4; i++) memcpy(d[i], &c[i & 1][i >> 1 << 5], 128);
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
    for (int i = 0; i < 2 * halves; i++) {
        int32_t products[32], c[32];
        memcpy(products, &bits[i & 1][i >> 1 << 5], sizeof products);
        memcpy(c, c_rows[i], sizeof c);
        for (int lane = 0; lane < 32; lane++) {
            int32_t sum = (int32_t)((uint32_t)c[lane] + (uint32_t)products[lane]);
            bool overflow = ((c[lane] ^ sum) & (products[lane] ^ sum)) < 0;
            c[lane] = saturate && overflow ? (c[lane] < 0 ? INT32_MIN : INT32_MAX) : sum;
        }
        memcpy(d[i], c, sizeof c);
    }
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
#define DEFINE(name, ...)                                                                                    \
    static void name(void *const *d, const void *const *a, const void *const *b, const void *const *c) {     \
        __VA_ARGS__;                                                                                         \
    }
/* `rows`: registers of B, 16 bytes of k each. */
#define DEFINE_F32(name, rows, A, B) DEFINE(f32_##name, mma_f32(d, a, b, c, rows, A, B))
#define DEFINE_F16(name, rows, A, B) DEFINE(f16_##name, mma_f16(d, a, b, c, rows, A, B))
#define DEFINE_FP8(A, B)                                                                                     \
    DEFINE_F32(A##_##B##_16, 1, A, B)                                                                        \
    DEFINE_F16(A##_##B##_16, 1, A, B)                                                                        \
    DEFINE_F32(A##_##B##_32, 2, A, B)                                                                        \
    DEFINE_F16(A##_##B##_32, 2, A, B)
#define DEFINE_INTEGER(m, k, A, B)                                                                           \
    DEFINE(s32_##A##_##B##_##m##_##k, mma_s32(d, a, b, c, m / 8, k / 16, A, B, false))                       \
    DEFINE(sat_##A##_##B##_##m##_##k, mma_s32(d, a, b, c, m / 8, k / 16, A, B, true))
#define DEFINE_INTEGERS(m, k)                                                                                \
    DEFINE_INTEGER(m, k, S8, S8)                                                                             \
    DEFINE_INTEGER(m, k, S8, U8)                                                                             \
    DEFINE_INTEGER(m, k, U8, S8)                                                                             \
    DEFINE_INTEGER(m, k, U8, U8)

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
DEFINE(f64_8_4, mma_f64(d, a, b, c, 8, 4))
DEFINE(f64_16_4, mma_f64(d, a, b, c, 16, 4))
DEFINE(f64_16_8, mma_f64(d, a, b, c, 16, 8))
DEFINE(f64_16_16, mma_f64(d, a, b, c, 16, 16))

/* `bytes` of k decide the registers: sixteen a register of B, and of A per eight rows. */
#define OPCODE(m, k, types) "mma.sync.aligned.m" #m "n8k" #k ".row.col." types
#define FORM_F32(k, bytes, a, b, A, B)                                                                       \
    {                                                                                                        \
        OPCODE(16, k, "f32." a "." b ".f32"), 16, 8, k, false, (bytes) / 8, (bytes) / 16, 4,                 \
            f32_##A##_##B##_##k                                                                              \
    }
#define FORM_F16(k, bytes, a, b, A, B)                                                                       \
    {                                                                                                        \
        OPCODE(16, k, "f16." a "." b ".f16"), 16, 8, k, false, (bytes) / 8, (bytes) / 16, 2,                 \
            f16_##A##_##B##_##k                                                                              \
    }
#define FORM_FP8(a, b, A, B)                                                                                 \
    FORM_F32(16, 16, a, b, A, B), FORM_F16(16, 16, a, b, A, B), FORM_F32(32, 32, a, b, A, B),                \
        FORM_F16(32, 32, a, b, A, B)
#define FORM_INTEGER(m, k, name, prefix, a, b, A, B)                                                         \
    {                                                                                                        \
        OPCODE(m, k, prefix "s32." a "." b ".s32"), m, 8, k, false, m *k / 128, k / 16, m / 4,               \
            name##_##A##_##B##_##m##_##k                                                                     \
    }
#define FORM_INTEGERS(m, k, name, prefix)                                                                    \
    FORM_INTEGER(m, k, name, prefix, "s8", "s8", S8, S8),                                                    \
        FORM_INTEGER(m, k, name, prefix, "s8", "u8", S8, U8),                                                \
        FORM_INTEGER(m, k, name, prefix, "u8", "s8", U8, S8),                                                \
        FORM_INTEGER(m, k, name, prefix, "u8", "u8", U8, U8)
#define FORM_F64(m, k)                                                                                       \
    { OPCODE(m, k, "f64.f64.f64.f64"), m, 8, k, true, m *k / 32, k / 4, m / 4, f64_##m##_##k }

static const trcpu_mma forms[] = {
    FORM_F32(8, 16, "f16", "f16", F16, F16),
    FORM_F32(16, 32, "f16", "f16", F16, F16),
    FORM_F16(8, 16, "f16", "f16", F16, F16),
    FORM_F16(16, 32, "f16", "f16", F16, F16),
    FORM_F32(8, 16, "bf16", "bf16", BF16, BF16),
    FORM_F32(16, 32, "bf16", "bf16", BF16, BF16),
    FORM_F32(4, 16, "tf32", "tf32", TF32, TF32),
    FORM_F32(8, 32, "tf32", "tf32", TF32, TF32),
    FORM_FP8("e4m3", "e4m3", E4M3, E4M3),
    FORM_FP8("e4m3", "e5m2", E4M3, E5M2),
    FORM_FP8("e5m2", "e4m3", E5M2, E4M3),
    FORM_FP8("e5m2", "e5m2", E5M2, E5M2),
    FORM_INTEGERS(8, 16, s32, ""),
    FORM_INTEGERS(8, 16, sat, "satfinite."),
    FORM_INTEGERS(16, 16, s32, ""),
    FORM_INTEGERS(16, 16, sat, "satfinite."),
    FORM_INTEGERS(16, 32, s32, ""),
    FORM_INTEGERS(16, 32, sat, "satfinite."),
    FORM_F64(8, 4),
    FORM_F64(16, 4),
    FORM_F64(16, 8),
    FORM_F64(16, 16),
};

const trcpu_mma *trcpu_mma_find(const char *opcode) {
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].opcode, opcode) == 0) return &forms[i];
    return NULL;
}

/* ---- ldmatrix, stmatrix, movmatrix ---- */
void trcpu_ldmatrix(uint32_t *const *d, const uint8_t *const *address, int count, bool transposed) {
    for (int i = 0; i < count; i++) {
        row16 matrix[8];
        for (int row = 0; row < 8; row++) memcpy(&matrix[row], address[8 * i + row], 16);
        if (transposed) transpose16(matrix);
        memcpy(d[i], matrix, sizeof matrix);
    }
}

void trcpu_stmatrix(uint8_t *const *address, const uint32_t *const *s, int count, bool transposed) {
    for (int i = 0; i < count; i++) {
        row16 matrix[8];
        memcpy(matrix, s[i], sizeof matrix);
        if (transposed) transpose16(matrix);
        for (int row = 0; row < 8; row++) memcpy(address[8 * i + row], &matrix[row], 16);
    }
}

void trcpu_movmatrix(uint32_t *d, const uint32_t *s) {
    row16 matrix[8];
    memcpy(matrix, s, sizeof matrix);
    transpose16(matrix);
    memcpy(d, matrix, sizeof matrix);
}
