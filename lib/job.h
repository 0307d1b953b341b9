/* One call of tr_compile_to on its way: what was asked, who does which part of it, what came of it.

     job_options.c   which compile options there are, and which stage reads each
     job_tools.c     which Triton, which ptxas; what the result's key says of them
     job_legs.c      the walk: consecutive stages by one compiler are one request
     job_result.c    records of the stages passed; results from and into the cache */
#ifndef TR_JOB_H
#define TR_JOB_H

#include "cache/artifacts.h"
#include "compilers/native.h"
#include "compilers/triton.h"
#include "pipeline.h"

typedef enum tr__maker {
    TR__MAKER_TRITON,
    TR__MAKER_LLVM,
    TR__MAKER_ANY_ASSEMBLER, /* ptxas, nvJitLink, the driver: the first that is there */
    TR__MAKER_PTXAS,
    TR__MAKER_NVJITLINK,
    TR__MAKER_DRIVER
} tr__maker;

typedef struct tr__job {
    const tr_program *program;
    tr_runner *runner;
    tr_stage to;
    tr_compile_options given;
    char arch[16];            /* "sm_90" */
    json_t *asked;            /* given.options; NULL: none */
    json_t *options;          /* those, over what was asked at earlier stages and is still to be read */
    const tr__triton *triton; /* NULL: none is needed, or none is there */
    tr__maker llvm, assembler;
    double deadline; /* seconds of CLOCK_MONOTONIC; 0: none */

    tr__blob *stages[TR__STAGES]; /* passed so far */
    json_t *metadata;             /* Triton's keys, as they stand after the legs so far */
    json_t *extra;
    json_t *made_by;
    json_t *depends; /* what a start at Python was made from besides its file */
    tr__buffer log;
} tr__job;

void tr__job_release(tr__job *job);

/* job_options.c: checks what was asked, merges it. */
tr_status tr__job_read_options(tr__job *job, tr_error **error);

/* job_tools.c */
tr_status tr__job_choose_arch(tr__job *job, tr_error **error);
tr_status tr__job_choose_tools(tr__job *job, tr_error **error);
/* Everything that decides about the result but for the source. */
tr_status tr__job_key(tr__job *job, tr__buffer *key, tr_error **error);
tr_status tr__device_arch(tr_runner *runner, uint32_t *arch, bool *cpu, tr_error **error);

/* job_legs.c: from the program to job->to. */
tr_status tr__job_run(tr__job *job, tr_error **error);

/* job_result.c */
tr_status tr__job_artifact(tr__job *job, tr__artifact **out, tr_error **error);
bool tr__artifact_decode(tr__artifact *artifact); /* records of what came from disk */
/* Whether a result may be kept for others who ask for the same, adding to it what they must check; and their check. */
bool tr__job_may_keep(tr__job *job, tr__artifact *artifact);
bool tr__job_holds(const tr__job *job, const tr__artifact *artifact);
tr_status tr__job_programs(const tr_program *from, tr_stage to, const tr__artifact *artifact,
                           tr_program **out, tr_error **error);

#endif
