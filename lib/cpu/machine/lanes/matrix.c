/* ldmatrix, stmatrix, movmatrix: 8 × 8 matrices of 16-bit elements, a register each. */
#include "machine/lanes/fragment.h"
#include "machine/lanes/lanes.h"

/* Where the rows of `count` matrices lie: lanes 8i … 8i + 7 say it for matrix i. NULL: one is outside. */
static char *const *find_rows(trcpu_warp *warp, const trcpu_insn *insn, const uint32_t *address,
                              uint32_t count, char **rows, bool write) {
    const uint32_t flights = warp->cta->inflight.readers + warp->cta->inflight.writers;
    for (uint32_t i = 0; i < 8 * count; i++) {
        uint32_t at = address[i] + (uint32_t)insn->imm;
        if (at % 16 || at > warp->shared_bytes || warp->shared_bytes - at < 16) {
            trcpu_fault_access(warp, insn, i, at, 16, TRCPU_SPACE_SHARED, write);
            return NULL;
        }
        rows[i] = warp->shared + at;
        if (!flights) continue;
        const trcpu_flight *flight = trcpu_inflight_find(&warp->cta->inflight, at, at + 16, write);
        if (flight) {
            trcpu_inflight_report(warp, insn, i, flight, at, write);
            return NULL;
        }
    }
    return rows;
}

/* The rows that were found, in the shadow; `values`: what will be written there, NULL when they are read. */
static bool shadow_rows(trcpu_warp *warp, const trcpu_insn *insn, char *const *rows, uint32_t count,
                        const row16 *values) {
    if (!warp->shadow) return true;
    const trcpu_view v =
        trcpu_view_of(warp->shadow, warp->index, (uint32_t)(insn - warp->launch->function->code));
    for (uint32_t i = 0; i < 8 * count; i++) {
        const uint32_t at = (uint32_t)(rows[i] - warp->shared);
        if (values ? trcpu_view_write16(&v, at / 16) : trcpu_view_read16(&v, at / 16)) continue;
        if (!(values ? trcpu_shadow_write(warp, insn, i, at, 16, &values[i])
                     : trcpu_shadow_read(warp, insn, i, at, 16)))
            return false;
    }
    return true;
}

HANDLER(ldmatrix) {
    char *rows[32];
    const uint32_t count = insn->mode;
    if (mask != warp->live) return apart(warp, insn, mask);
    if (!find_rows(warp, insn, ROW_AT(uint32_t, insn->rows[count]), count, rows, false) ||
        !shadow_rows(warp, insn, rows, count, NULL))
        return TRCPU_LEAVE;
    row16 matrix[4][8];
    for (uint32_t i = 0; i < count; i++) {
        for (int row = 0; row < 8; row++) memcpy(&matrix[i][row], rows[8 * i + (uint32_t)row], 16);
        if (insn->flags & TRCPU_HAS_TRANS) transpose16(matrix[i]);
    }
    for (uint32_t i = 0; i < count; i++) memcpy(ROW_AT(uint32_t, insn->rows[i]), matrix[i], sizeof matrix[i]);
    return insn + 1;
}

HANDLER(stmatrix) {
    char *rows[32];
    row16 matrix[4][8];
    const uint32_t count = insn->mode;
    if (mask != warp->live) return apart(warp, insn, mask);
    if (!find_rows(warp, insn, ROW(uint32_t, 0), count, rows, true)) return TRCPU_LEAVE;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(matrix[i], ROW_AT(uint32_t, insn->rows[1 + i]), sizeof matrix[i]);
        if (insn->flags & TRCPU_HAS_TRANS) transpose16(matrix[i]);
    }
    if (!shadow_rows(warp, insn, rows, count, matrix[0])) return TRCPU_LEAVE;
    for (uint32_t i = 0; i < 8 * count; i++) memcpy(rows[i], &matrix[i / 8][i % 8], 16);
    return insn + 1;
}

HANDLER(movmatrix) {
    row16 matrix[8];
    if (mask != warp->live) return apart(warp, insn, mask);
    memcpy(matrix, ROW(uint32_t, 1), sizeof matrix);
    transpose16(matrix);
    memcpy(ROW(uint32_t, 0), matrix, sizeof matrix);
    return insn + 1;
}

FORMS(matrix){
    {"ldmatrix.sync.aligned.m8n8.x1.?trans.shared.b16", "V=S", ldmatrix, 1, 0},
    {"ldmatrix.sync.aligned.m8n8.x2.?trans.shared.b16", "V=S", ldmatrix, 2, 0},
    {"ldmatrix.sync.aligned.m8n8.x4.?trans.shared.b16", "V=S", ldmatrix, 4, 0},
    {"stmatrix.sync.aligned.m8n8.x1.?trans.shared.b16", "=SV", stmatrix, 1, 0},
    {"stmatrix.sync.aligned.m8n8.x2.?trans.shared.b16", "=SV", stmatrix, 2, 0},
    {"stmatrix.sync.aligned.m8n8.x4.?trans.shared.b16", "=SV", stmatrix, 4, 0},
    {"movmatrix.sync.aligned.m8n8.trans.b16", "w=w", movmatrix, 0, 0},
    END_OF_FORMS,
};
