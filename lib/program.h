/* A program: one kernel at one stage, its bytes and its record. Immutable. */
#ifndef TR_PROGRAM_H
#define TR_PROGRAM_H

#include "base/blob.h"
#include "metadata/record.h"
#include "runner.h"

struct tr_program {
    uint32_t references;
    tr_runner *runner; /* retained */
    tr_stage stage;
    /* The stage alone, without an embedded record; or `compressed`, until somebody asks for the program. */
    tr__blob *bytes, *compressed;
    tr__record *record; /* retained */
    tr__blob *metadata; /* tr__record_write of `record`, NUL-terminated */
    char *path;         /* as loaded, for messages; NULL: from memory */
    char *signature;    /* python: as given, in one spelling; else NULL */
    tr__blob *log;      /* what the compilers said; NULL: nothing */
    tr_program *before; /* retained: the stage this one was compiled from; NULL: loaded */
};

/* What it is made of; the program retains each, or copies it. metadata NULL: written from the record. */
typedef struct tr__program_parts {
    tr_stage stage;
    tr__blob *bytes, *compressed; /* one of them */
    const tr__record *record;
    tr__blob *metadata;
    const char *path, *signature;
    tr__blob *log;
    const tr_program *before;
} tr__program_parts;

tr_status tr__program_create(tr_runner *runner, const tr__program_parts *parts, tr_program **out,
                             tr_error **error);
tr_program *tr__program_retain(const tr_program *program);
void tr__program_release(tr_program *program);

/* For messages: the path, or "<memory>". */
static inline const char *tr__program_name(const tr_program *program) {
    return program->path ? program->path : "<memory>";
}

#endif
