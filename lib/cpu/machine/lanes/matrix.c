/* ldmatrix, stmatrix, movmatrix: 8 × 8 matrices of 16-bit elements, a register each. */
#include "machine/lanes/fragment.h"
#include "machine/lanes/place.h"

/* Where the rows of `count` matrices lie: lanes 8i … 8i + 7 say it for matrix i. False: one is outside. */
TRCPU_INLINE bool find_rows(trcpu_warp *warp, const trcpu_insn *insn, const uint32_t *address, uint32_t count,
                            uint32_t *at, bool write) {
    const uint32_t flights = warp->cta->inflight.readers + warp->cta->inflight.writers;
    const uint32_t offset = (uint32_t)insn->imm;
    LANES at[l] = address[l] + offset;
    if (all_in_shared(warp, ~0u >> (32 - 8 * count), at, 16) && !flights) return true;
    for (uint32_t i = 0; i < 8 * count; i++) {
        if (at[i] % 16 || at[i] > warp->shared_bytes || warp->shared_bytes - at[i] < 16) {
            trcpu_fault_access(warp, insn, i, at[i], 16, TRCPU_SPACE_SHARED, write);
            return false;
        }
        const trcpu_flight *flight = trcpu_inflight_find(&warp->cta->inflight, at[i], at[i] + 16, write);
        if (flight) {
            trcpu_inflight_report(warp, insn, i, flight, at[i], write);
            return false;
        }
    }
    return true;
}

/* The rows that were found, in the shadow; `values`: what will be written there, NULL when they are read. */
TRCPU_INLINE bool shadow_rows(trcpu_warp *warp, const trcpu_insn *insn, const uint32_t *at, uint32_t count,
                              const row16 *values) {
    if (!warp->shadow) return true;
    const trcpu_view v = view_of(warp, insn);
    const uint32_t now = trcpu_view_now(&v);
    uint32_t left = values ? write_chunks(&v, at, 8 * count) : read_chunks(&v, at, 8 * count);
    for (; left; left &= left - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(left);
        if (values ? trcpu_view_write16(&v, at[i] / 16, now) : trcpu_view_read16(&v, at[i] / 16)) continue;
        if (!(values ? trcpu_shadow_write(warp, insn, i, at[i], 16, &values[i])
                     : trcpu_shadow_read(warp, insn, i, at[i], 16)))
            return false;
    }
    return true;
}

/* Its rows, or its columns, to a register. */
TRCPU_INLINE void load_matrix(uint32_t *to, const char *shared, const uint32_t at[8], bool transposed) {
#ifdef __AVX512BW__
    __m512i upper = gather_quad(shared, at), lower = gather_quad(shared, at + 4);
    if (transposed) transpose_halves(&upper, &lower);
    _mm512_store_si512(to, upper);
    _mm512_store_si512(to + 16, lower);
#else
    row16 matrix[8];
    for (uint32_t row = 0; row < 8; row++) memcpy(&matrix[row], shared + at[row], 16);
    if (transposed) transpose16(matrix);
    memcpy(to, matrix, sizeof matrix);
#endif
}

TRCPU_INLINE const trcpu_insn *load_matrices(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                             uint32_t count) {
    uint32_t at[32];
    if (mask != warp->live) return apart(warp, insn, mask);
    if (!find_rows(warp, insn, ROW_AT(uint32_t, insn->rows[count]), count, at, false) ||
        !shadow_rows(warp, insn, at, count, NULL))
        return TRCPU_LEAVE;
    for (uint32_t i = 0; i < count; i++)
        load_matrix(ROW_AT(uint32_t, insn->rows[i]), warp->shared, at + 8 * i, insn->flags & TRCPU_HAS_TRANS);
    return insn + 1;
}

TRCPU_INLINE const trcpu_insn *store_matrices(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                              uint32_t count) {
    uint32_t at[32];
    row16 matrix[4][8];
    if (mask != warp->live) return apart(warp, insn, mask);
    if (!find_rows(warp, insn, ROW(uint32_t, 0), count, at, true)) return TRCPU_LEAVE;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(matrix[i], ROW_AT(uint32_t, insn->rows[1 + i]), sizeof matrix[i]);
        if (insn->flags & TRCPU_HAS_TRANS) transpose16(matrix[i]);
    }
    if (!shadow_rows(warp, insn, at, count, matrix[0])) return TRCPU_LEAVE;
    for (uint32_t i = 0; i < 8 * count; i++) memcpy(warp->shared + at[i], &matrix[i / 8][i % 8], 16);
    return insn + 1;
}

#define MATRICES(count)                                                                                      \
    HANDLER(ldmatrix##count) {                                                                               \
        return load_matrices(warp, insn, mask, count);                                                       \
    }                                                                                                        \
    HANDLER(stmatrix##count) {                                                                               \
        return store_matrices(warp, insn, mask, count);                                                      \
    }
MATRICES(1)
MATRICES(2)
MATRICES(4)

HANDLER(movmatrix) {
    row16 matrix[8];
    if (mask != warp->live) return apart(warp, insn, mask);
    memcpy(matrix, ROW(uint32_t, 1), sizeof matrix);
    transpose16(matrix);
    memcpy(ROW(uint32_t, 0), matrix, sizeof matrix);
    return insn + 1;
}

FORMS(matrix){
    {"ldmatrix.sync.aligned.m8n8.x1.?trans.shared.b16", "V=S", ldmatrix1, 0, 0},
    {"ldmatrix.sync.aligned.m8n8.x2.?trans.shared.b16", "V=S", ldmatrix2, 0, 0},
    {"ldmatrix.sync.aligned.m8n8.x4.?trans.shared.b16", "V=S", ldmatrix4, 0, 0},
    {"stmatrix.sync.aligned.m8n8.x1.?trans.shared.b16", "=SV", stmatrix1, 0, 0},
    {"stmatrix.sync.aligned.m8n8.x2.?trans.shared.b16", "=SV", stmatrix2, 0, 0},
    {"stmatrix.sync.aligned.m8n8.x4.?trans.shared.b16", "=SV", stmatrix4, 0, 0},
    {"movmatrix.sync.aligned.m8n8.trans.b16", "w=w", movmatrix, 0, 0},
    END_OF_FORMS,
};
