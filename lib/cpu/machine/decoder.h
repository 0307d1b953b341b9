/* What decode.c, operand.c and row.c share while a program is made. */
#ifndef TRCPU_DECODER_H
#define TRCPU_DECODER_H

#include "machine/program.h"

#define TRCPU_ROWS_OF_ONE 1024

enum {                   /* the start of the register file */
       TRCPU_ALWAYS = 0, /* predicate: all lanes */
       TRCPU_NEVER = 4,  /* predicate: none */
       TRCPU_SINK_PREDICATE = 8,
       TRCPU_PREDICATES = 12,
};

typedef struct trcpu_part { /* a function of the program */
    trcpu_ptx_function *ptx;
    uint32_t *rows;  /* of its registers */
    uint32_t *first; /* statement → its first instruction; one more for the end */
    uint32_t return_row;
    bool active; /* on the way from the kernel to what is being decoded: a call of it would be recursion */
} trcpu_part;

typedef struct trcpu_search { /* where in the tables of forms */
    const trcpu_form *const *table;
    const trcpu_form *form;
    uint8_t mode; /* of the form that was found */
} trcpu_search;

typedef struct trcpu_known { /* an opcode that was met before, and the first form that it matches */
    trcpu_text text;
    trcpu_opcode opcode;
    trcpu_search first;
    bool matches;
} trcpu_known;

enum { TRCPU_KNOWN = 64 };

typedef struct trcpu_decoder {
    trcpu_function *function;
    const trcpu_variant *variant;
    trcpu_part *parts;
    uint32_t part_count;
    trcpu_known *known; /* TRCPU_KNOWN places, by a hash of the text */
    uint32_t code_room, source_room, row_count, row_room, constant_room, special_room;
    uint32_t sink;
    uint32_t *constant_index; /* a hash table of constants, by number + 1 */
    uint32_t constant_buckets;
    trcpu_part *current;
    const trcpu_statement *statement;
    uint32_t taken[TRCPU_ROWS_OF_ONE], taken_count; /* of the instruction at hand */
    uint32_t first_count, first_width;
    bool first_set;
    int64_t imm;
    char *log;
    size_t log_size;
    int result;
} trcpu_decoder;

enum { TRCPU_INVALID_PTX = 218, TRCPU_UNSUPPORTED = 218, TRCPU_OUT_OF_MEMORY = 2 };

/* decode.c. The first failure is kept and ends it all. */
void trcpu_decoder_fail(trcpu_decoder *d, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool trcpu_decoder_grow(trcpu_decoder *d, void *array, uint32_t *room, uint32_t needed, size_t element);
const trcpu_form *trcpu_decoder_form(trcpu_decoder *d, const char *name); /* a helper's: "%not" */
trcpu_insn *trcpu_decoder_emit(trcpu_decoder *d, const trcpu_form *form); /* NULL: failed */
/* The label that a statement means by a name: of the innermost scope around it. */
const trcpu_label *trcpu_label_find(const trcpu_part *p, trcpu_text name, uint32_t statement);

/* row.c: of the register file; constants and special registers are rows as well */
uint32_t trcpu_row_take(trcpu_decoder *d, uint32_t bytes);
uint32_t trcpu_row_constant(trcpu_decoder *d, uint64_t value, uint32_t bytes);
uint32_t trcpu_row_special(trcpu_decoder *d, uint32_t special);
int trcpu_special_find(trcpu_text name); /* -1: none */
uint32_t trcpu_special_bytes(uint32_t special);

/* register.c: rows for the registers of a part, but for predicates. */
void trcpu_registers_place(trcpu_decoder *d, trcpu_part *part);

/* operand.c: do the statement's operands fit these letters (see trcpu_form)? If not dry, their rows are taken. */
bool trcpu_operands_fit(trcpu_decoder *d, const char *letters, const trcpu_statement *s, bool dry);

#endif
