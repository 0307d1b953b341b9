/* A program: what a PTX module becomes at load. Instructions are decoded once: a handler, and its operands resolved
   to rows of the warp's register file.

   How to add an instruction
     1. Write a handler in the file of lanes/ whose noun fits (see lanes/lanes.h for the macros).
     2. Add a line to that file's table: the opcode pattern, the operands, the handler, what kind it is.
   Nothing else. lanes/ is compiled once per instruction set; a module decodes for the best this CPU has.

   The register file of a warp is rows of 32 lanes: 4 bytes a lane for registers of up to 32 bits (8- and 16-bit
   values are kept zero-extended), 8 for 64 bits; a predicate is one 32-bit mask. Constants and special registers
   are rows as well, so that a handler never asks what its operands are. */
#ifndef TRCPU_PROGRAM_H
#define TRCPU_PROGRAM_H

#include "machine.h"
#include "ptx/ptx.h"

typedef struct trcpu_warp trcpu_warp;
typedef struct trcpu_insn trcpu_insn;

/* Executes for the lanes in `mask` (never 0) and returns what comes next: insn + 1, a branch's target, or
   TRCPU_LEAVE when the warp can't just go on (it stopped, diverged, blocked, faulted: see warp.h). */
typedef const trcpu_insn *trcpu_handler(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask);
#define TRCPU_LEAVE ((const trcpu_insn *)UINTPTR_MAX)

#define TRCPU_INLINE_ROWS 6

struct trcpu_insn {
    trcpu_handler *run;
    uint32_t guard, guard_flip; /* mask &= predicate ^ flip */
    uint32_t
        op[TRCPU_INLINE_ROWS]; /* rows as byte offsets, in the order of the operands, vectors flattened */
    int64_t imm;               /* address offset, immediate operand, label */
    const uint32_t *rows;      /* all of them: op[] is the start */
    uint16_t flags;            /* TRCPU_HAS_FTZ … */
    uint8_t count;             /* elements of the first vector operand */
    uint8_t width;             /* bytes of the first register operand, 0: predicate */
    uint8_t pure; /* destination rows to restore in lanes that don't execute; 0: handles its mask */
    uint8_t mode; /* of the form */
    uint16_t
        slot; /* of a memory access: where the warp remembers the allocation last hit; of a product: its operands */
};

enum { /* modifiers found anywhere in the opcode */
       TRCPU_HAS_FTZ = 1,
       TRCPU_HAS_SAT = 2, /* .sat, .satfinite */
       TRCPU_HAS_RELU = 4,
       TRCPU_HAS_NAN = 8,
       TRCPU_HAS_SYNC = 16, /* volatile, relaxed, acquire, release: other threads look at it */
       TRCPU_HAS_TRANS = 32,
       TRCPU_HAS_ABS = 64,      /* .xorsign.abs */
       TRCPU_HAS_CLUSTER = 128, /* .shared::cluster */
       TRCPU_HAS_ALIGNED = 256,
       TRCPU_BEGINS_SWAP =
           512, /* not a modifier: an ordinary load ahead of a compare-and-swap of the same address */
       TRCPU_IS_PRODUCT = 1024,
       TRCPU_PAIRS = 2048, /* a product that can be computed together with the next one */
};

/* ---- forms: the table of instructions ---- */
enum {
    TRCPU_FORM_PURE = 1,   /* only writes its destination rows: may compute all lanes, the caller masks */
    TRCPU_FORM_MEMORY = 2, /* has a slot */
    TRCPU_FORM_BRANCH = 4, /* imm is a label, then the instruction there; mode 1: its table of targets */
    TRCPU_FORM_ACCESS_SHARED = 8,
    TRCPU_FORM_PRODUCT =
        16, /* see product.c; mode: registers of B, of which A has two each; four of C and D */
};

/* pattern: segments between dots; "a|b" either; "?a|b" either or none. "#a|b": which it is is added to the mode, from
   0 (from 1 for "?#a|b", 0 when missing), shifted by 5 for the second of them. Before matching, what only orders or hints
   is taken out (.volatile, .acquire, .gpu, .L1::evict_first, …).
   operands: destinations, '=', sources, a letter each; what has none starts with '='.
     p predicate · h 8 or 16 bits · w 32 · d 64 · n up to 32 · r a register of any width
     P p|q, q may be missing · W w|p · {…} a list of just that shape · V one register, or a list of any length
     a [address] with its offset folded into the row (s: of shared memory) · T [map, {coordinates}]
     A [address], 64 bits · S [address], 32 bits · # an integer constant, to imm · N a name (label, function, variable), to imm · _ ignored
     ? before a letter: may be missing (its row is then zero) */
typedef struct trcpu_form {
    const char *pattern, *operands;
    trcpu_handler *run;
    uint8_t mode, kind;
} trcpu_form;

/* Each file of lanes/ exports its table, ended by a form without pattern. */
typedef struct trcpu_variant {
    const char *name;
    const trcpu_form *const *tables; /* ended by NULL */
    void (*run)(trcpu_warp *warp);   /* until it is done, blocked, paused or faulted */
    void (*run_counted)(trcpu_warp *warp);
} trcpu_variant;
const trcpu_variant *trcpu_variant_best(void);

/* ---- decoded code ---- */
typedef enum trcpu_special {
    TRCPU_TID_X,
    TRCPU_TID_Y,
    TRCPU_TID_Z,
    TRCPU_LANEID,
    TRCPU_WARPID,
    TRCPU_NWARPID,
    TRCPU_LANEMASK_EQ,
    TRCPU_LANEMASK_LT,
    TRCPU_LANEMASK_LE,
    TRCPU_LANEMASK_GT,
    TRCPU_LANEMASK_GE,
    TRCPU_NTID_X,
    TRCPU_NTID_Y,
    TRCPU_NTID_Z,
    TRCPU_NCTAID_X,
    TRCPU_NCTAID_Y,
    TRCPU_NCTAID_Z,
    TRCPU_CTAID_X,
    TRCPU_CTAID_Y,
    TRCPU_CTAID_Z,
    TRCPU_SMID,
    TRCPU_NSMID,
    TRCPU_GRIDID,
    TRCPU_CLUSTERID_X,
    TRCPU_CLUSTERID_Y,
    TRCPU_CLUSTERID_Z,
    TRCPU_NCLUSTERID_X,
    TRCPU_NCLUSTERID_Y,
    TRCPU_NCLUSTERID_Z,
    TRCPU_CLUSTER_CTAID_X,
    TRCPU_CLUSTER_CTAID_Y,
    TRCPU_CLUSTER_CTAID_Z,
    TRCPU_CLUSTER_NCTAID_X,
    TRCPU_CLUSTER_NCTAID_Y,
    TRCPU_CLUSTER_NCTAID_Z,
    TRCPU_CLUSTER_CTARANK,
    TRCPU_CLUSTER_NCTARANK,
    TRCPU_IS_EXPLICIT_CLUSTER,
    TRCPU_DYNAMIC_SMEM_SIZE,
    TRCPU_TOTAL_SMEM_SIZE,
    TRCPU_CLOCK,
    TRCPU_CLOCK_HI,
    TRCPU_CLOCK64,
    TRCPU_GLOBALTIMER,
    TRCPU_GLOBALTIMER_LO,
    TRCPU_GLOBALTIMER_HI,
    TRCPU_SPECIAL_COUNT
} trcpu_special;

typedef struct trcpu_constant {
    uint32_t row;
    uint8_t bytes;
    uint64_t value;
} trcpu_constant;

typedef struct trcpu_row_use {
    uint32_t row;
    uint32_t special;
} trcpu_row_use;

typedef struct trcpu_insn_source { /* cold: only reports look at it */
    const trcpu_statement *statement;
    const trcpu_ptx_function *function;
} trcpu_insn_source;

typedef struct trcpu_printf_call trcpu_printf_call;

/* A kernel with the functions it calls, decoded as one: functions have rows of their own (no recursion), and where
   a lane returns to is a row too. */
struct trcpu_function {
    trcpu_module *module;
    trcpu_ptx_function *ptx;
    trcpu_function_info info;
    char *name;
    trcpu_parameter *parameters;
    trcpu_insn *code;
    trcpu_insn_source *sources;
    uint32_t code_size;
    uint32_t file_bytes; /* of a warp's register file */
    trcpu_constant *constants;
    uint32_t constant_count;
    trcpu_row_use *specials;
    uint32_t special_count;
    uint32_t slot_count;
    uint32_t shared_bytes, shared_dynamic; /* static size; offset at which dynamic shared memory starts */
    uint32_t frame_bytes;                  /* local memory of a lane */
    uint64_t *targets;                     /* tables of branches by index: a number, then instructions */
    uint32_t *rows;                        /* what the instructions' rows point into */
};

struct trcpu_module {
    trcpu_memory *memory;
    trcpu_ptx *ptx;
    trcpu_function *functions;
    size_t function_count;
    uint64_t *allocations; /* of the module's variables */
    uint32_t allocation_count;
};

/* decode.c: fills `function` but for name, parameters and info; the log gets "line N: …" when it can't. */
int trcpu_function_decode(trcpu_function *function, const trcpu_variant *variant, char *log, size_t log_size);
void trcpu_function_release(trcpu_function *function);

/* product.c: products that follow each other, and what they share: insn->imm is how many are behind one, insn->slot which
   A (above) and B of them it takes. */
enum { TRCPU_PRODUCT_OPERANDS = 8 };
void trcpu_products_join(trcpu_function *function);

/* form.c */
typedef struct trcpu_opcode { /* an opcode cut at its dots, hints taken out */
    trcpu_text segments[24];
    uint32_t count;
    uint16_t flags;
} trcpu_opcode;
bool trcpu_opcode_split(trcpu_text text, trcpu_opcode *out);
/* Does a load or store carry two modifiers that ptxas refuses together? */
bool trcpu_opcode_clashes(trcpu_text text, trcpu_text pair[2]);
/* The least .target that ptxas takes it for; 0: any that is known here. */
int trcpu_opcode_target(const trcpu_opcode *opcode);
bool trcpu_form_matches(const trcpu_form *form, const trcpu_opcode *opcode, uint8_t *mode);

#endif
