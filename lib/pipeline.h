/* The ordered table of stages, and the two walks over it: load (load.c) and compile (pipeline.c). */
#ifndef TR_PIPELINE_H
#define TR_PIPELINE_H

#include "program.h"

const char *tr__stage_name(tr_stage stage);   /* "ttir"; "?" for none */
tr_stage tr__stage_of_name(const char *path); /* by its ending; TR_STAGE_AUTO: none has it */
tr_stage tr__stage_of_content(const char *data, size_t size);

/* The stage's reader, with the record completed by what the text tells. */
tr_status tr__stage_read(tr_stage stage, const tr__blob *bytes, const char *name, const char *kernel,
                         tr__record *record, tr_error **error);

/* Compiles as far as tr_kernel_create needs on the runner's device: cubin on a GPU, PTX on the CPU device. */
tr_status tr__pipeline_launchable(const tr_program *program, tr_program **out, tr_error **error);

#endif
