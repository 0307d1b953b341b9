/* A PTX module as written: directives, variables, functions and their statements, names resolved to registers
   and variables, nothing interpreted. What an instruction means is the machine's matter (machine/form.h). */
#ifndef TRCPU_PTX_H
#define TRCPU_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct trcpu_text {
    const char *at; /* inside the module's copy of the source */
    uint32_t size;
} trcpu_text;

/* Here for the compiler, which knows most strings' lengths. */
static inline bool trcpu_text_is(trcpu_text text, const char *string) {
    return text.size && *text.at == *string && strlen(string) == text.size &&
           memcmp(text.at, string, text.size) == 0;
}
bool trcpu_text_equal(trcpu_text a, trcpu_text b);

/* ---- memory that lives as long as the module ---- */
typedef struct trcpu_arena trcpu_arena;
trcpu_arena *trcpu_arena_create(void);
void trcpu_arena_destroy(trcpu_arena *arena);
void *trcpu_arena_take(trcpu_arena *arena, size_t size); /* zeroed; NULL when there is none */
/* Room for one more element at the end of an array in the arena; NULL when there is no memory. */
void *trcpu_arena_push(trcpu_arena *arena, void *array, uint32_t *count, size_t element);

/* ---- variables ---- */
typedef enum trcpu_space {
    TRCPU_SPACE_GENERIC,
    TRCPU_SPACE_GLOBAL,
    TRCPU_SPACE_CONST,
    TRCPU_SPACE_SHARED,
    TRCPU_SPACE_LOCAL,
    TRCPU_SPACE_PARAM, /* of an entry: constant; of a function or a call: bytes of the lane */
    TRCPU_SPACE_REG
} trcpu_space;

struct trcpu_variable;
typedef struct trcpu_relocation { /* the address of `variable` + addend, stored at `offset` */
    uint32_t offset, size;
    const struct trcpu_variable *variable;
    trcpu_text function; /* or of a function, when variable is NULL */
    int64_t addend;
    bool generic;
} trcpu_relocation;

typedef struct trcpu_variable {
    trcpu_text name;
    trcpu_space space;
    uint32_t alignment, element;
    uint64_t size; /* bytes; 0 for an array without a length (dynamic shared memory) */
    bool is_extern;
    const uint8_t *bytes; /* of the initialiser, `size` long; NULL: zeros */
    trcpu_relocation *relocations;
    uint32_t relocation_count;
    uint64_t address; /* set by the machine: device address, or offset in its space */
} trcpu_variable;

/* ---- statements ---- */
typedef enum trcpu_operand_kind {
    TRCPU_OPERAND_REGISTER,
    TRCPU_OPERAND_INTEGER,
    TRCPU_OPERAND_FLOAT,    /* value: the 32 bits */
    TRCPU_OPERAND_DOUBLE,   /* value: the 64 bits */
    TRCPU_OPERAND_VARIABLE, /* its address + value */
    TRCPU_OPERAND_NAME,     /* a label, a function, a special register */
    TRCPU_OPERAND_LIST,     /* {a, b}, (a, b) */
    TRCPU_OPERAND_PAIR,     /* a|b */
    TRCPU_OPERAND_ADDRESS,  /* [a + value], [a, {b, c}] */
    TRCPU_OPERAND_SINK      /* _ */
} trcpu_operand_kind;

typedef struct trcpu_operand {
    trcpu_operand_kind kind;
    bool negated; /* !p */
    uint32_t reg; /* index into the function's registers */
    int64_t value;
    trcpu_text name;
    trcpu_variable *variable;
    struct trcpu_operand *items; /* of a list, a pair or an address */
    uint32_t count;
} trcpu_operand;

typedef struct trcpu_statement {
    trcpu_text opcode; /* with its modifiers: ld.global.v4.b32 */
    trcpu_text text;   /* the whole, without the semicolon */
    uint32_t line, location;
    int32_t guard; /* a predicate register, or -1 */
    bool guard_negated;
    trcpu_operand *operands;
    uint32_t operand_count;
} trcpu_statement;

typedef struct trcpu_label {
    trcpu_text name;
    uint32_t statement;     /* the next one after it */
    uint32_t begin, end;    /* statements of the scope that it is known in */
    trcpu_operand *targets; /* of .branchtargets, .calltargets */
    uint32_t target_count;
} trcpu_label;

typedef struct trcpu_register {
    uint8_t bytes; /* 0: a predicate */
} trcpu_register;

typedef struct trcpu_location { /* .loc: where in the source */
    uint32_t file, line, column;
    uint32_t inlined_file, inlined_line; /* 0: not inlined */
    trcpu_text calls; /* "file:line:column @[ …": where it was inlined, innermost first */
} trcpu_location;

typedef struct trcpu_ptx_function {
    trcpu_text name;
    uint32_t line;
    bool is_entry, has_body;
    trcpu_variable **parameters, **returns, **variables; /* variables: local, shared and param ones inside */
    uint32_t parameter_count, return_count, variable_count;
    uint32_t required_block[3], max_block[3], required_cluster[3];
    bool explicit_cluster;
    trcpu_register *registers;
    uint32_t register_count;
    trcpu_statement *statements;
    uint32_t statement_count;
    trcpu_label *labels;
    uint32_t label_count;
} trcpu_ptx_function;

typedef struct trcpu_ptx {
    trcpu_arena *arena;
    const char *source;
    int version, target; /* 84, 90 */
    trcpu_text *files;   /* by the number of .file; files[0] is unused */
    uint32_t file_count;
    trcpu_location *locations; /* locations[0]: nowhere */
    uint32_t location_count;
    trcpu_variable **variables;
    uint32_t variable_count;
    trcpu_ptx_function **functions;
    uint32_t function_count;
} trcpu_ptx;

/* NULL on failure, and `log` says where and what, a line each: "line 12: …". *exhausted: whether memory was what it
   lacked. */
trcpu_ptx *trcpu_ptx_parse(const char *source, size_t size, char *log, size_t log_size, bool *exhausted);
void trcpu_ptx_destroy(trcpu_ptx *ptx);

#endif
