/* Registers to rows. A register that occurs only in one stretch of code, without a label or a branch inside, and is written
   there before it is read, needs its row from the first to the last of its occurrences; then another of its kind has it.
   That is most registers of a program, which leaves their rows where the CPU's nearest cache has them. It is all the same
   where lanes are apart: none writes the others' words. */
#include "machine/decoder.h"

#include <stdlib.h>

typedef struct span { /* of a register: the statements where it occurs */
    uint32_t first, last;
    bool occurs, shares;
} span;

typedef struct shelf { /* rows of one width that nobody has */
    uint32_t *rows, count;
} shelf;

typedef struct registers { /* of a part */
    trcpu_decoder *decoder;
    trcpu_part *part;
    span *spans;
    shelf narrow, wide;
} registers;

typedef void visit(registers *r, uint32_t reg, uint32_t statement, bool written);

/* All registers of rows in an operand; `written`: were it the first. */
static void visit_operand(registers *r, const trcpu_operand *o, uint32_t statement, bool written,
                          visit *each) {
    if (o->kind == TRCPU_OPERAND_REGISTER && r->part->ptx->registers[o->reg].bytes)
        each(r, o->reg, statement, written);
    for (uint32_t i = 0; i < o->count; i++)
        visit_operand(r, &o->items[i], statement, written && o->kind != TRCPU_OPERAND_ADDRESS, each);
}

static void visit_statement(registers *r, uint32_t statement, visit *each) {
    const trcpu_statement *s = &r->part->ptx->statements[statement];
    for (uint32_t i = 0; i < s->operand_count; i++)
        visit_operand(r, &s->operands[i], statement, i == 0 && s->guard < 0, each);
}

static void extend_span(registers *r, uint32_t reg, uint32_t statement, bool written) {
    span *s = &r->spans[reg];
    if (!s->occurs) *s = (span){.first = statement, .occurs = true, .shares = written};
    s->last = statement;
}

static bool goes_elsewhere(const trcpu_statement *s) {
    static const char *const words[] = {"bra", "brx", "call", "ret", "exit"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t size = strlen(words[i]);
        if (s->opcode.size >= size && !memcmp(s->opcode.at, words[i], size)) return true;
    }
    return false;
}

/* The number of the stretch that each statement lies in. */
static void number_stretches(const trcpu_ptx_function *ptx, uint32_t *stretch) {
    for (uint32_t i = 0; i < ptx->label_count; i++) stretch[ptx->labels[i].statement]++;
    for (uint32_t i = 0; i < ptx->statement_count; i++)
        stretch[i + 1] += stretch[i] + goes_elsewhere(&ptx->statements[i]);
}

static shelf *shelf_of(registers *r, uint32_t reg) {
    return r->part->ptx->registers[reg].bytes == 8 ? &r->wide : &r->narrow;
}

static void take_row(registers *r, uint32_t reg, uint32_t statement, bool written) {
    (void)written;
    shelf *s = shelf_of(r, reg);
    if (r->spans[reg].first != statement || r->part->rows[reg]) return;
    r->part->rows[reg] = r->spans[reg].shares && s->count
                             ? s->rows[--s->count]
                             : trcpu_row_take(r->decoder, r->part->ptx->registers[reg].bytes);
}

static void give_row(registers *r, uint32_t reg, uint32_t statement, bool written) {
    (void)written;
    shelf *s = shelf_of(r, reg);
    if (r->spans[reg].last != statement || !r->spans[reg].shares) return;
    s->rows[s->count++] = r->part->rows[reg];
    r->spans[reg].shares = false; /* it may occur twice in the statement */
}

static void place(registers *r, uint32_t *stretch) {
    const trcpu_ptx_function *ptx = r->part->ptx;
    number_stretches(ptx, stretch);
    for (uint32_t i = 0; i < ptx->statement_count; i++) visit_statement(r, i, extend_span);
    for (uint32_t reg = 0; reg < ptx->register_count; reg++)
        r->spans[reg].shares &= stretch[r->spans[reg].first] == stretch[r->spans[reg].last];
    for (uint32_t i = 0; i < ptx->statement_count; i++) {
        visit_statement(r, i, take_row);
        visit_statement(r, i, give_row);
    }
}

void trcpu_registers_place(trcpu_decoder *d, trcpu_part *part) {
    const trcpu_ptx_function *ptx = part->ptx;
    registers r = {.decoder = d, .part = part};
    uint32_t *stretch = calloc(ptx->statement_count + 1, sizeof *stretch);
    r.spans = calloc(ptx->register_count + 1, sizeof *r.spans);
    r.narrow.rows = calloc(ptx->register_count + 1, sizeof *r.narrow.rows);
    r.wide.rows = calloc(ptx->register_count + 1, sizeof *r.wide.rows);
    if (stretch && r.spans && r.narrow.rows && r.wide.rows) {
        place(&r, stretch);
    } else {
        d->current = part;
        trcpu_decoder_fail(d, TRCPU_OUT_OF_MEMORY, "out of memory");
    }
    free(stretch);
    free(r.spans);
    free(r.narrow.rows);
    free(r.wide.rows);
}
