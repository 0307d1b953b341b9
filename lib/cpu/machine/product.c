/* Products of matrices come in rows that share operands: a tile of C takes each fragment of A with each of B. The handler
   of one (lanes/mma.c) computes all that are behind it as well, and opens each operand once. A row may be entered in the
   middle; it ends before a product whose operands it has written. */
#include "machine/program.h"

enum { D = 0, A = 4, MOST = 16 };

static uint32_t rows_of_a(const trcpu_insn *insn) {
    return 2 * insn->mode;
}

static const uint32_t *b_of(const trcpu_insn *insn) {
    return insn->rows + A + rows_of_a(insn);
}

static const uint32_t *c_of(const trcpu_insn *insn) {
    return b_of(insn) + insn->mode;
}

static bool same(const uint32_t *x, const uint32_t *y, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (x[i] != y[i]) return false;
    return true;
}

static bool writes(const trcpu_insn *insn, const uint32_t *rows, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < 4; k++)
            if (insn->rows[D + k] == rows[i]) return true;
    return false;
}

/* Does `insn` go on with the row that begins at `first`? */
static bool goes_on(const trcpu_insn *first, const trcpu_insn *insn) {
    if (!(insn->flags & TRCPU_IS_PRODUCT) || insn->run != first->run || insn->guard != first->guard ||
        insn->guard_flip != first->guard_flip)
        return false;
    for (const trcpu_insn *before = first; before < insn; before++)
        if (writes(before, insn->rows + A, 3u * insn->mode)) return false;
    return true;
}

/* Takes the number of an earlier one with the same operand, else the next. */
static uint32_t number_b(const trcpu_insn *first, const trcpu_insn *insn, uint32_t *count) {
    for (const trcpu_insn *before = first; before < insn; before++)
        if (same(b_of(before), b_of(insn), insn->mode)) return before->slot & 255;
    return (*count)++;
}

static uint32_t number_a(const trcpu_insn *first, const trcpu_insn *insn) {
    for (const trcpu_insn *before = first; before < insn; before++)
        if (same(before->rows + A, insn->rows + A, rows_of_a(insn))) return before->slot >> 8;
    return (uint32_t)(insn - first);
}

void trcpu_products_join(trcpu_function *function) {
    trcpu_insn *const end = function->code + function->code_size;
    for (trcpu_insn *first = function->code, *next; first < end; first = next) {
        next = first + 1;
        if (!(first->flags & TRCPU_IS_PRODUCT)) continue;
        uint32_t count = 0;
        for (next = first; next < end && next - first < MOST && goes_on(first, next); next++) {
            uint32_t b = number_b(first, next, &count);
            if (b == TRCPU_PRODUCT_OPERANDS) break;
            next->slot = (uint16_t)(number_a(first, next) << 8 | b);
        }
        for (trcpu_insn *insn = first; insn < next; insn++) {
            insn->imm = next - insn - 1;
            if (insn->imm && insn->slot >> 8 == (insn + 1)->slot >> 8 && !writes(insn, c_of(insn + 1), 4))
                insn->flags |= TRCPU_PAIRS;
        }
    }
}
