/* What every compiler is asked and answers, whichever process it lives in.

       triton.c    python, ttir, ttgir, llir → any later stage up to cubin, by a Triton installation (worker.py)
       native.c    llir → ptx by LLVM, ptx → cubin by nvJitLink; in the helper process or, on request, in this one
       ptxas.c     ptx → cubin by a ptxas program
   (the driver's own JIT, ptx → module, belongs to driver/)

   wire.c and peer.c carry the frames to the two kinds of child. Nothing here knows programs or runners:
   pipeline.c decides who is asked, this folder asks. */
#ifndef TR_COMPILERS_COMPILER_H
#define TR_COMPILERS_COMPILER_H

#include "base/blob.h"
#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>

enum { TR__STAGES = TR_STAGE_CUBIN + 1 }; /* arrays indexed by tr_stage */

typedef struct tr__compile_request {
    tr_stage from, to;
    const tr__blob *source;
    const char *path;      /* python: the file's path, for messages and .loc; else NULL */
    const char *kernel;    /* python: the function's name; else the entry's, as the IR has it */
    const char *signature; /* python only */
    const char *arch;      /* "sm_90" */
    /* Object of Triton's backend options that were asked for, now or at an earlier stage, and that some stage from
       here to `to` reads; one that this version does not know is TR_E_INVALID_ARGUMENT. May be NULL. */
    const json_t *options;
    /* Object: the record's Triton keys, all of them. Where `options` says nothing, those that are options of this
       version (num_warps, num_stages, cluster_dims, maxnreg, enable_fp_fusion, …) stand in; others (tensordesc_meta,
       shared, …) are there for a start that cannot see them in its text, and come back in the result's metadata.
       May be NULL. */
    const json_t *metadata;
    const json_t *locations;        /* ttir, ttgir: the record's, of the source; may be NULL */
    const char *const *environment; /* "NAME=value", …, NULL; may be NULL */
    uint32_t timeout_ms;            /* 0: the compiler's default */
    /* Non-zero cancels. Called in the calling thread, also about every 50 ms with the stage last reached. May be
       NULL. */
    int32_t (*progress)(void *user, tr_stage reached, double seconds);
    void *progress_user;
} tr__compile_request;

typedef struct tr__compile_result {
    tr__blob *stages[TR__STAGES]; /* those passed, from excluded, `to` included */
    double seconds[TR__STAGES];
    json_t *metadata; /* object: what the compiler says of the result, in Triton's own keys; may be NULL */
    /* Object: what Triton's JSON has no key for: "parameters" (python: as metadata/record.h says), "kernel",
       "registers", "spills", "constant_bytes", "local_bytes", "locations" (by the stage's name); may be NULL. */
    json_t *extra;
    char *log;        /* what the compiler printed, also on success; NULL: nothing */
    char *maker;      /* who did it: "triton 3.4.0", "llvm 22.1.8", "ptxas 12.8.93", … */
} tr__compile_result; /* all zero before the call; released by its owner also after a failure */

void tr__compile_result_release(tr__compile_result *result);

/* What the request's options say, else its metadata; NULL: neither. */
const json_t *tr__compile_option(const tr__compile_request *request, const char *name);

/* TR_E_INVALID_ARGUMENT unless the request's architecture is one of NVIDIA's: "sm_90". */
tr_status tr__compile_check_arch(const tr__compile_request *request, tr_error **error);

/* What Triton adds to an architecture's name for LLVM and ptxas: "a" for "sm_90" and later ones that have no suffix
   yet, else "". */
const char *tr__compile_suffix(const char *arch);

/* The newest PTX version that a CUDA release reads, 87 for 1208. */
uint32_t tr__ptx_newest(uint32_t release);

/* `source` for a tool that reads PTX up to `newest`: a newer `.version` is often only a matter of that line, which
   is then lowered and the log told. *out is the source itself or another, the caller's to release. */
tr_status tr__ptx_readable(const tr__blob *source, uint32_t newest, tr__buffer *log, tr__blob **out,
                           tr_error **error);

#endif
