/* wgmma: each warp of the group computes its 16 of the 64 rows. Arithmetic as mma.sync's (mma.c): products added to the
   accumulator in ascending k, one fused multiply-add each; an f16 accumulator is rounded once an instruction. It takes
   effect at once, which any kernel that waits as it must can't tell from later. */
#include "machine/lanes/fragment.h"
#include "machine/lanes/lanes.h"

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
TRCPU_INLINE uint32_t unswizzled(const layout *l, uint32_t line, uint32_t along, bool transposed) {
    const uint32_t address = l->start + line % 8 * l->width, chunks = l->width / 16;
    if (chunks == 1)
        return address + (transposed ? line / 8 * l->leading + along * l->stride
                                     : line / 8 * l->stride + along * l->leading);
    return address + line / 8 * l->stride + along % chunks * 16 +
           (transposed ? along / chunks * l->leading : 0);
}

static uint32_t chunk_address(const layout *l, uint32_t line, uint32_t along, bool transposed) {
    uint32_t address = unswizzled(l, line, along, transposed);
    return address ^ ((address - l->base) >> 3 & (l->width - 16));
}

typedef struct operands {
    uint32_t n;
    uint32_t *d[128];
    const uint32_t *a[4]; /* a[0] NULL: in shared memory */
    uint64_t a_descriptor, b_descriptor;
    const char *shared;
    uint32_t shared_bytes;
    uint32_t warp;           /* 0 … 3 in its group */
    bool accumulate, negate; /* scale-d; scale-a and scale-b differ */
    bool a_transposed, b_transposed;
    uint32_t fault; /* the address outside of shared memory, when multiply_group() answers false */
} operands;

/* Eight rows of m or n from 8 * block on, chunk `chunk` of k, as one register row: lane 4 × row + word. They are eight
   lines that follow each other, so only the first one's place takes reckoning. */
TRCPU_INLINE bool gather(uint32_t row[32], operands *o, const layout *l, uint32_t block, uint32_t chunk,
                         bool transposed) {
    const uint32_t swizzle = l->width - 16;
    uint32_t first =
        transposed ? unswizzled(l, 8 * chunk, block, true) : unswizzled(l, 8 * block, chunk, false);
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t address = first + i * l->width;
        address ^= (address - l->base) >> 3 & swizzle;
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

/* ---- the product ---- */
typedef enum accumulator { F32, HALF, S32, SATURATING } accumulator;

TRCPU_INLINE bool load_a(operand_a *a, operands *o, element of) {
    const int units = units_of(of);
    const layout l = layout_of(o->a_descriptor);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t row[32];
        if (o->a[0])
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

TRCPU_INLINE bool multiply_group(operands *o, element of_a, element of_b, accumulator kind) {
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
enum { A_IN_REGISTERS = 1, SCALES = 2, TRANSPOSES = 4 }; /* mode: which operands there are */

/* D, A, B, scale-d, then what `mode` says: scale-a, scale-b, transposed-a (not of registers), transposed-b. */
static void read_operands(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                          uint32_t registers_per_column, operands *o) {
    const uint32_t lane = (uint32_t)__builtin_ctz(mask), *row = insn->rows;
    const bool from_registers = insn->mode & A_IN_REGISTERS;
    *o = (operands){.shared = warp->shared, .shared_bytes = warp->shared_bytes, .warp = warp->index % 4};
    o->n = insn->count / registers_per_column * 8;
    for (uint32_t i = 0; i < insn->count; i++) o->d[i] = ROW_AT(uint32_t, *row++);
    if (from_registers)
        for (int i = 0; i < 4; i++) o->a[i] = ROW_AT(uint32_t, *row++);
    else
        o->a_descriptor = ROW_AT(uint64_t, *row++)[lane];
    o->b_descriptor = ROW_AT(uint64_t, *row++)[lane];
    o->accumulate = *PREDICATE_AT(*row++) & mask;
    if (insn->mode & SCALES) {
        o->negate = (ROW_AT(int32_t, row[0])[lane] < 0) != (ROW_AT(int32_t, row[1])[lane] < 0);
        row += 2;
    }
    if (insn->mode & TRANSPOSES) {
        if (!from_registers) o->a_transposed = ROW_AT(uint32_t, *row++)[lane];
        o->b_transposed = ROW_AT(uint32_t, *row++)[lane];
    }
}

/* The span of shared memory an operand of `rows` (m or n) reads. */
static trcpu_flight span_of(uint64_t descriptor, uint32_t rows, bool transposed) {
    const layout l = layout_of(descriptor);
    trcpu_flight span = {.low = UINT32_MAX, .kind = TRCPU_FLIGHT_WGMMA};
    const uint32_t lines = transposed ? 16 : rows, chunks = transposed ? rows / 8 : 2;
    for (uint32_t line = 0; line < lines; line++)
        for (uint32_t along = 0; along < chunks; along++) {
            uint32_t address = chunk_address(&l, line, along, transposed);
            if (address < span.low) span.low = address;
            if (address + 16 > span.high) span.high = address + 16;
        }
    return span;
}

/* In the shadow, a warp reads every fourth of the operand's blocks of eight rows (m or n), beginning at `first`. What
   one wait or one barrier brought is the same for all blocks, so nothing is lost, and each is looked at once. */
static bool shadow_operand(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, uint64_t descriptor,
                           uint32_t first, uint32_t step, uint32_t end, bool transposed) {
    const layout l = layout_of(descriptor);
    const trcpu_view v =
        trcpu_view_of(warp->shadow, warp->index, (uint32_t)(insn - warp->launch->function->code));
    for (uint32_t block = first; block < end; block += step)
        for (uint32_t i = 0; i < 16; i++) {
            const uint32_t at = transposed ? chunk_address(&l, i, block, true)
                                           : chunk_address(&l, 8 * block + i / 2, i % 2, false);
            if (at + 16 > warp->shared_bytes) return true; /* the product will tell */
            if (!trcpu_view_read16(&v, at / 16) &&
                !trcpu_shadow_read(warp, insn, (uint32_t)__builtin_ctz(mask), at, 16))
                return false;
        }
    return true;
}

static bool shadow_reads(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, const operands *o) {
    if (!warp->shadow) return true;
    return (o->a[0] || shadow_operand(warp, insn, mask, o->a_descriptor, 2 * o->warp, 1, 2 * o->warp + 2,
                                      o->a_transposed)) &&
           shadow_operand(warp, insn, mask, o->b_descriptor, o->warp, 4, o->n / 8, o->b_transposed);
}

/* The first warp of a group speaks for all four. False: an operand is still being filled. */
static bool note_reads(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, const operands *o) {
    trcpu_inflight *in = &warp->cta->inflight;
    const int count = o->a[0] ? 1 : 2;
    if (o->warp != 0) return true;
    trcpu_flight spans[2] = {span_of(o->b_descriptor, o->n, o->b_transposed)};
    if (count == 2) spans[1] = span_of(o->a_descriptor, 64, o->a_transposed);
    for (int i = 0; i < count; i++) {
        const trcpu_flight *flight = trcpu_inflight_find(in, spans[i].low, spans[i].high, false);
        if (flight) {
            trcpu_inflight_report(warp, insn, (uint32_t)__builtin_ctz(mask), flight, spans[i].low, false);
            return false;
        }
        spans[i].owner = (uint8_t)(warp->index / 4);
        spans[i].group = warp->wgmma_group;
        spans[i].insn = insn;
        trcpu_inflight_add(in, spans[i]);
    }
    return true;
}

static const trcpu_insn *outside(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, uint32_t address) {
    return trcpu_fault_access(warp, insn, (uint32_t)__builtin_ctz(mask), address, 16, TRCPU_SPACE_SHARED,
                              false);
}

#define DEFINE(kind, A, B)                                                                                   \
    HANDLER(kind##_##A##_##B) {                                                                              \
        operands o;                                                                                          \
        if (mask != warp->live) return apart(warp, insn, mask);                                              \
        read_operands(warp, insn, mask, kind == HALF ? 2 : 4, &o);                                           \
        if (!note_reads(warp, insn, mask, &o) || !shadow_reads(warp, insn, mask, &o)) return TRCPU_LEAVE;    \
        if (!multiply_group(&o, A, B, kind)) return outside(warp, insn, mask, o.fault);                      \
        return insn + 1;                                                                                     \
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

HANDLER(fence) {
    return mask != warp->live ? apart(warp, insn, mask) : insn + 1;
}

HANDLER(commit) {
    if (mask != warp->live) return apart(warp, insn, mask);
    warp->wgmma_group++;
    return insn + 1;
}

/* The four warps multiply together: what one has waited for, all have begun. */
static bool others_are_behind(const trcpu_warp *warp, uint32_t group) {
    const trcpu_cta *cta = warp->cta;
    const uint32_t first = warp->index & ~3u;
    for (uint32_t w = first; w < first + 4 && w < cta->warp_count; w++)
        if (cta->warps[w].live && cta->warps[w].wgmma_group < group) return true;
    return false;
}

/* … and what one knows to be over, is over for all four. */
static void learn_of_group(trcpu_warp *warp) {
    trcpu_order *order = &warp->shadow->order;
    trcpu_knowledge all = {{0}};
    const uint32_t first = warp->index & ~3u;
    for (uint32_t w = first; w < first + 4 && w < warp->cta->warp_count; w++)
        trcpu_order_give(order, &all, w);
    trcpu_order_take(order, &all, warp->index);
}

HANDLER(wait_group) {
    if (mask != warp->live) return apart(warp, insn, mask);
    const uint64_t pending = (uint64_t)insn->imm;
    if (warp->wgmma_group <= pending) return insn + 1;
    const uint32_t group = warp->wgmma_group - (uint32_t)pending;
    if (others_are_behind(warp, group))
        return wait_for_others(warp, insn, insn, "the other warps of its group to multiply");
    warp->waits = 0;
    if (warp->shadow) learn_of_group(warp);
    trcpu_inflight_waited(&warp->cta->inflight, TRCPU_FLIGHT_WGMMA, warp->index / 4, group);
    return insn + 1;
}

#define EIGHT(k, a, b, c, d, e, f, g, h)                                                                     \
    "m64n" #a "k" #k "|m64n" #b "k" #k "|m64n" #c "k" #k "|m64n" #d "k" #k "|m64n" #e "k" #k "|m64n" #f      \
    "k" #k "|m64n" #g "k" #k "|m64n" #h "k" #k
#define SHAPE(k)                                                                                             \
    "wgmma.mma_async.sync.aligned." EIGHT(k, 8, 16, 24, 32, 40, 48, 56, 64) "|" EIGHT(                       \
        k, 72, 80, 88, 96, 104, 112, 120, 128) "|" EIGHT(k, 136, 144, 152, 160, 168, 176, 184,               \
                                                         192) "|" EIGHT(k, 200, 208, 216, 224, 232, 240,     \
                                                                        248, 256) "."
#define HALVES(types, run)                                                                                   \
    {SHAPE(16) types, "V=ddpwwww", run, SCALES | TRANSPOSES, 0}, {                                           \
        SHAPE(16) types, "V={wwww}dpwww", run, A_IN_REGISTERS | SCALES | TRANSPOSES, 0                       \
    }
#define OTHERS(k, types, run)                                                                                \
    {SHAPE(k) types, "V=ddpww", run, SCALES, 0}, {                                                           \
        SHAPE(k) types, "V={wwww}dpww", run, A_IN_REGISTERS | SCALES, 0                                      \
    }
#define BYTES(a, b, A, B)                                                                                    \
    OTHERS(32, "f32." a "." b, F32_##A##_##B), OTHERS(32, "f16." a "." b, HALF_##A##_##B)
#define INTEGER(types, run)                                                                                  \
    {SHAPE(32) types, "V=ddp", run, 0, 0}, {                                                                 \
        SHAPE(32) types, "V={wwww}dp", run, A_IN_REGISTERS, 0                                                \
    }
#define INTEGERS(a, b, A, B)                                                                                 \
    INTEGER("s32." a "." b, S32_##A##_##B), INTEGER("s32." a "." b ".satfinite", SATURATING_##A##_##B),      \
        INTEGER("satfinite.s32." a "." b, SATURATING_##A##_##B)

FORMS(wgmma){
    HALVES("f32.f16.f16", F32_F16_F16),
    HALVES("f16.f16.f16", HALF_F16_F16),
    HALVES("f32.bf16.bf16", F32_BF16_BF16),
    OTHERS(8, "f32.tf32.tf32", F32_TF32_TF32),
    BYTES("e4m3", "e4m3", E4M3, E4M3),
    BYTES("e4m3", "e5m2", E4M3, E5M2),
    BYTES("e5m2", "e4m3", E5M2, E4M3),
    BYTES("e5m2", "e5m2", E5M2, E5M2),
    INTEGERS("s8", "s8", S8, S8),
    INTEGERS("s8", "u8", S8, U8),
    INTEGERS("u8", "s8", U8, S8),
    INTEGERS("u8", "u8", U8, U8),
    {"wgmma.fence.sync.aligned", "", fence, 0, 0},
    {"wgmma.commit_group.sync.aligned", "", commit, 0, 0},
    {"wgmma.wait_group.sync.aligned", "=#", wait_group, 0, 0},
    END_OF_FORMS,
};
