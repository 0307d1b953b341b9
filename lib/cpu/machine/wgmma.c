#include "machine/wgmma.h"

#include <stdio.h>

#include "machine/fragment.h"

/* ---- matrix descriptors ----
   An operand is 16-byte chunks: of k where k is contiguous, of m or n where it is transposed. Eight rows of chunks
   make a group; `stride` leads from group to group, `leading` to the next chunk along the contiguous side where
   swizzling doesn't put it next to the first. */
typedef struct layout {
    uint32_t start, leading, stride, base;
    uint32_t width; /* of the swizzle in bytes; 16: none */
} layout;

static layout layout_of(uint64_t descriptor) {
    static const uint8_t widths[] = {16, 128, 64, 32};
    return (layout){.start = (uint32_t)(descriptor & 0x3fff) << 4,
                    .leading = (uint32_t)(descriptor >> 16 & 0x3fff) << 4,
                    .stride = (uint32_t)(descriptor >> 32 & 0x3fff) << 4,
                    .base = (uint32_t)(descriptor >> 49 & 7) << 7,
                    .width = widths[descriptor >> 62]};
}

/* Chunk `along` of line `line`: without transposition a line is a row of m or n and runs along k, with it a line is
   one k and runs along m or n. */
static uint32_t chunk_address(const layout *l, uint32_t line, uint32_t along, bool transposed) {
    uint32_t address = l->start + line % 8 * l->width;
    if (l->width == 16) {
        address += transposed ? line / 8 * l->leading + along * l->stride
                              : line / 8 * l->stride + along * l->leading;
        return address;
    }
    uint32_t chunks = l->width / 16;
    address += line / 8 * l->stride + along % chunks * 16 + (transposed ? along / chunks * l->leading : 0);
    return address ^ ((address - l->base) >> 3 & (l->width - 16));
}

/* Eight rows of m or n from 8 * block on, chunk `chunk` of k, as one register row: lane 4 × row + word. */
static bool gather(uint32_t row[32], trcpu_wgmma_operands *o, const layout *l, uint32_t block, uint32_t chunk,
                   bool transposed) {
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t address = transposed ? chunk_address(l, 8 * chunk + i, block, true)
                                      : chunk_address(l, 8 * block + i, chunk, false);
        if (address + 16 > o->shared_bytes) {
            o->fault = address;
            return false;
        }
        memcpy(row + 4 * i, o->shared + address, 16);
    }
    if (transposed) {
        row16 matrix[8];
        memcpy(matrix, row, sizeof matrix);
        transpose16(matrix);
        memcpy(row, matrix, sizeof matrix);
    }
    return true;
}

void trcpu_wgmma_span(uint64_t descriptor, uint32_t rows, bool transposed, uint32_t *low, uint32_t *high) {
    layout l = layout_of(descriptor);
    *low = UINT32_MAX;
    *high = 0;
    for (uint32_t line = 0; line < (transposed ? 16 : rows); line++)
        for (uint32_t along = 0; along < (transposed ? rows / 8 : 2); along++) {
            uint32_t address = chunk_address(&l, line, along, transposed);
            if (address < *low) *low = address;
            if (address + 16 > *high) *high = address + 16;
        }
}

/* ---- the product ---- */
typedef enum accumulator { F32, HALF, S32, SATURATING } accumulator;

TRCPU_INLINE bool load_a(operand_a *a, trcpu_wgmma_operands *o, element of) {
    const int units = units_of(of);
    const layout l = layout_of(o->a_descriptor);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t row[32];
        if (o->a)
            memcpy(row, o->a[i], sizeof row);
        else if (!gather(row, o, &l, 2 * o->warp + i % 2, i / 2, o->a_transposed))
            return false;
        if (o->negate) {
            const uint32_t signs = units == 1 ? 0x80000000 : units == 2 ? 0x80008000 : 0x80808080;
            for (int lane = 0; lane < 32; lane++) row[lane] ^= signs;
        }
        expand_a((float(*)[64])(void *)(a->value[units * (i / 2)] + 32 * (i % 2)), row, of);
    }
    return true;
}

TRCPU_INLINE void load_accumulator(float c[2][64], uint32_t *const *d, accumulator kind) {
    if (kind == HALF)
        for (int i = 0; i < 2; i++) widen_halves(&c[0][32 * i], &c[1][32 * i], d[i]);
    else
        for (int i = 0; i < 4; i++) memcpy(&c[i & 1][i >> 1 << 5], d[i], 128);
}

TRCPU_INLINE void store_accumulator(uint32_t *const *d, float c[2][64], accumulator kind) {
    if (kind == HALF)
        for (int i = 0; i < 2; i++) narrow_halves(d[i], &c[0][32 * i], &c[1][32 * i]);
    else
        for (int i = 0; i < 4; i++) memcpy(d[i], &c[i & 1][i >> 1 << 5], 128);
}

/* The sum of integer products in `c`, added to the accumulator. */
TRCPU_INLINE void add_integers(uint32_t *const *d, float c[2][64], bool accumulate, bool saturate) {
    for (int i = 0; i < 4; i++) {
        int32_t products[32];
        memcpy(products, &c[i & 1][i >> 1 << 5], sizeof products);
        for (int lane = 0; lane < 32; lane++) {
            uint32_t old = accumulate ? d[i][lane] : 0, sum = old + (uint32_t)products[lane];
            bool overflow = ((old ^ sum) & ((uint32_t)products[lane] ^ sum)) >> 31;
            d[i][lane] = saturate && overflow ? (old >> 31 ? 0x80000000 : 0x7fffffff) : sum;
        }
    }
}

TRCPU_INLINE bool multiply_group(trcpu_wgmma_operands *o, element of_a, element of_b, accumulator kind) {
    const int units = units_of(of_b);
    const bool integer = kind == S32 || kind == SATURATING;
    const layout l = layout_of(o->b_descriptor);
    operand_a a;
    if (!load_a(&a, o, of_a)) return false;
    for (uint32_t block = 0; block < o->n / 8; block++) {
        uint32_t *const *d = o->d + (kind == HALF ? 2 : 4) * block;
        operand_b b;
        for (uint32_t chunk = 0; chunk < 2; chunk++) {
            uint32_t row[32];
            if (!gather(row, o, &l, block, chunk, o->b_transposed)) return false;
            expand_b(&b, units * (int)chunk, row, of_b);
        }
        float c[2][64] = {0};
        if (integer) {
            multiply_pairs(c, &a, &b, 2 * units);
            add_integers(d, c, o->accumulate, kind == SATURATING);
        } else {
            if (o->accumulate) load_accumulator(c, d, kind);
            multiply(c, &a, &b, 2 * units);
            store_accumulator(d, c, kind);
        }
    }
    return true;
}

/* ---- the forms ---- */
#define DEFINE(kind, A, B)                                                                                   \
    static bool kind##_##A##_##B(trcpu_wgmma_operands *o) {                                                  \
        return multiply_group(o, A, B, kind);                                                                \
    }
#define DEFINE_ALL(kind, A, B) DEFINE(kind, A, A) DEFINE(kind, A, B) DEFINE(kind, B, A) DEFINE(kind, B, B)
DEFINE(F32, F16, F16)
DEFINE(HALF, F16, F16)
DEFINE(F32, BF16, BF16)
DEFINE(F32, TF32, TF32)
DEFINE_ALL(F32, E4M3, E5M2)
DEFINE_ALL(HALF, E4M3, E5M2)
DEFINE_ALL(S32, S8, U8)
DEFINE_ALL(SATURATING, S8, U8)

static const struct {
    const char *types;
    uint8_t k;
    accumulator kind;
    trcpu_wgmma_function *run;
} forms[] = {
    {"f32.f16.f16", 16, F32, F32_F16_F16},
    {"f16.f16.f16", 16, HALF, HALF_F16_F16},
    {"f32.bf16.bf16", 16, F32, F32_BF16_BF16},
    {"f32.tf32.tf32", 8, F32, F32_TF32_TF32},
    {"f32.e4m3.e4m3", 32, F32, F32_E4M3_E4M3},
    {"f32.e4m3.e5m2", 32, F32, F32_E4M3_E5M2},
    {"f32.e5m2.e4m3", 32, F32, F32_E5M2_E4M3},
    {"f32.e5m2.e5m2", 32, F32, F32_E5M2_E5M2},
    {"f16.e4m3.e4m3", 32, HALF, HALF_E4M3_E4M3},
    {"f16.e4m3.e5m2", 32, HALF, HALF_E4M3_E5M2},
    {"f16.e5m2.e4m3", 32, HALF, HALF_E5M2_E4M3},
    {"f16.e5m2.e5m2", 32, HALF, HALF_E5M2_E5M2},
    {"s32.s8.s8", 32, S32, S32_S8_S8},
    {"s32.s8.u8", 32, S32, S32_S8_U8},
    {"s32.u8.s8", 32, S32, S32_U8_S8},
    {"s32.u8.u8", 32, S32, S32_U8_U8},
    {"s32.s8.s8.satfinite", 32, SATURATING, SATURATING_S8_S8},
    {"s32.s8.u8.satfinite", 32, SATURATING, SATURATING_S8_U8},
    {"s32.u8.s8.satfinite", 32, SATURATING, SATURATING_U8_S8},
    {"s32.u8.u8.satfinite", 32, SATURATING, SATURATING_U8_U8},
};

bool trcpu_wgmma_find(const char *opcode, trcpu_wgmma *out) {
    unsigned n, k;
    int length = 0;
    /* ".satfinite" may stand before the types */
    if (sscanf(opcode, "wgmma.mma_async.sync.aligned.m64n%3uk%2u.%n", &n, &k, &length) != 2 || length == 0)
        return false;
    const char *types = opcode + length;
    char moved[32];
    if (strncmp(types, "satfinite.", 10) == 0) {
        snprintf(moved, sizeof moved, "%s.satfinite", types + 10);
        types = moved;
    }
    if (n == 0 || n % 8 || n > 256) return false;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].k == k && strcmp(forms[i].types, types) == 0) {
            *out = (trcpu_wgmma){.n = (uint16_t)n,
                                 .k = (uint16_t)k,
                                 .d_rows = (uint8_t)(n / (forms[i].kind == HALF ? 4 : 2)),
                                 .integer = forms[i].kind >= S32,
                                 .transposes = k == 16,
                                 .run = forms[i].run};
            return true;
        }
    return false;
}
