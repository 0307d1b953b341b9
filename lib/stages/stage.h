/* What every stage's reader is given and gives. The readers don't know each other; pipeline.c names them all.
 */
#ifndef TR_STAGES_STAGE_H
#define TR_STAGES_STAGE_H

#include "metadata/record.h"
#include "stages/scan.h"

typedef struct tr__reading {
    const char *data; /* without an embedded record; a NUL follows */
    size_t size;
    const char *name;   /* for messages: the path, or "<memory>" */
    const char *kernel; /* the one asked for; NULL: the only one */
    tr__record *record; /* what is known already; the reader adds what the text tells. What contradicts a
                           record that the text does not decide is an error. */
} tr__reading;

typedef struct tr__stage {
    tr_stage id;
    const char *name;                                 /* "ttir" */
    const char *suffix;                               /* ".ttir" */
    bool (*recognise)(const char *data, size_t size); /* at most one stage says yes */
    tr_status (*read)(tr__reading *reading, tr_error **error);
} tr__stage;

extern const tr__stage tr__stage_python, tr__stage_ttir, tr__stage_ttgir, tr__stage_llir, tr__stage_ptx,
    tr__stage_cubin;

/* ---- what the readers share ---- */

/* One entry of the kernel's own parameter list, as the text has it. */
typedef struct tr__operand {
    tr_type type;          /* 0: only its size is known; signedness may not be */
    tr_type element;       /* of a pointer or tensor; 0: unknown */
    uint32_t size;         /* bytes */
    uint32_t divisibility; /* 1: nothing promised */
    uint32_t rank;         /* of a TENSOR_MAP; 0: unknown */
    int64_t block[5];
    const char *name; /* not terminated; NULL: unknown */
    size_t name_length;
    const char *at; /* where it stands; NULL in an image */
} tr__operand;

enum { TR__OPERANDS_MAX = 4096, TR__KERNELS_MAX = 4096 };

typedef struct tr__operands {
    tr__operand *items;
    size_t count, capacity;
} tr__operands;
tr_status tr__operands_add(tr__operands *operands, const tr__operand *operand, tr_error **error);
void tr__operands_release(tr__operands *operands);

/* The operands of the kernel chosen, laid beside the record's parameters; without those they become its
   parameters. With `tail` the list ends in what Triton passes behind the caller's arguments, which is what
   the record leaves over. With `promises` the text tells what was promised of each argument, and wins. */
tr_status tr__reading_params(tr__reading *reading, const tr__operands *operands, bool tail, bool promises,
                             tr_error **error);

/* The kernels found in a text, in order. */
typedef struct tr__names {
    struct tr__name {
        const char *text; /* not terminated */
        size_t length;
        const char *at; /* where the scan can go on to read it */
    } * items;
    size_t count, capacity;
} tr__names;
tr_status tr__names_add(tr__names *names, const char *text, size_t length, const char *at, tr_error **error);
void tr__names_release(tr__names *names);

/* The one asked for, else the record's, else the only one; its name goes into the record. None: TR_E_PARSE,
   saying that a kernel is `what`; several, or another one asked for: TR_E_INVALID_ARGUMENT, the names in the
   log. */
tr_status tr__reading_choose(tr__reading *reading, const tr__names *names, const char *what, size_t *index,
                             tr_error **error);

/* Whether a record can hold it as a name. */
bool tr__name_recordable(const char *text, size_t length);

/* 90 of "sm_90a"; 0: none. */
uint32_t tr__arch_number(const char *text, size_t length);
/* What the text says, against what is known. */
tr_status tr__reading_arch(tr__reading *reading, uint32_t arch, tr_error **error);
tr_status tr__reading_threads(tr__reading *reading, uint32_t threads, tr_error **error);

/* Types by their spelling in MLIR and LLVM ("f16", "half", "i32"); 0: none. */
tr_type tr__ir_scalar(const char *text, size_t length);
uint32_t tr__type_size(tr_type type);

#endif
