/* A program: one kernel at one stage, its bytes and its record. Immutable. */
#ifndef TR_PROGRAM_H
#define TR_PROGRAM_H

#include "base/blob.h"
#include "metadata/record.h"
#include "runner.h"

struct tr_program {
    uint32_t references;
    tr_runner *runner;        /* retained */
    tr_stage stage;
    tr__blob *bytes;          /* the stage alone, without an embedded record */
    tr__record *record;       /* retained */
    char *path;               /* as loaded, for messages; NULL: from memory */
    char *signature;          /* python: as given, normalised; else NULL */
    char *log;                /* what the compilers said; NULL: nothing */
    char *metadata;           /* tr__record_write of `record` */
    tr_program *before;       /* retained: the stage this one was compiled from; NULL: loaded */
};

tr_program *tr__program_retain(const tr_program *program);
void tr__program_release(tr_program *program);

#endif
