/* The ordered table of stages, and the two walks over it: load and compile. */
#ifndef TR_PIPELINE_H
#define TR_PIPELINE_H

#include "program.h"

/* What a stage's text or image tells of itself. */
typedef struct tr__reading {
    const char *data; /* without an embedded record; NUL-terminated behind size */
    size_t size;
    const char *name;   /* for messages: the path, or "<memory>" */
    const char *kernel; /* the one asked for; NULL: the only one */
    tr__record *record; /* filled: kernel, arch, params, num_warps, … as far as the text tells and nobody told before.
                           What contradicts what is there is an error. */
} tr__reading;

typedef struct tr__stage {
    tr_stage id;
    const char *name;   /* "ttir" */
    const char *suffix; /* ".ttir" */
    const char *comment; /* what begins a comment line in its text; NULL: an image */
    bool (*recognise)(const char *data, size_t size);
    tr_status (*read)(tr__reading *reading, tr_error **error); /* parses far enough to say line:column of what is
                           malformed, finds kernels, signature, metadata; checks what the compilers don't */
} tr__stage;

extern const tr__stage tr__stages[]; /* by tr_stage; [0] is empty */
const char *tr__stage_name(tr_stage stage);

/* Compiles as far as tr_kernel_create needs on the runner's device: cubin on a GPU, PTX on the CPU device. */
tr_status tr__pipeline_launchable(const tr_program *program, tr_program **out, tr_error **error);

#endif
