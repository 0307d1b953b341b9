/* PTX → cubin by a ptxas program: which one, run as which Triton would, and what it says. */
#ifndef TR_COMPILERS_PTXAS_H
#define TR_COMPILERS_PTXAS_H

#include "compilers/native.h"

/* A Triton installation that the caller named or that made the program: its own ptxas comes first and its
   flags are used. All NULL: none, then the record's "triton_version" tells the flags. */
typedef struct tr__ptxas_triton {
    const char *site;    /* the folder that holds the package `triton` */
    const char *version; /* "3.4.0" */
} tr__ptxas_triton;

tr_status tr__ptxas_compile(tr__native *native, const tr__compile_request *request,
                            const tr__ptxas_triton *triton, tr__compile_result *result, tr_error **error);

/* ---- ptxas_find.c ---- */

typedef struct tr__ptxas_tool {
    char *path;
    char version[24];     /* "12.8.93" */
    uint32_t release;     /* 1208 */
    uint32_t ptx_version; /* the newest it reads: 87 */
} tr__ptxas_tool;

/* Where versions are kept beyond this process, so that a program that was asked once need not be started again: gives
   the version of the file with this identity, or asks for it; "": there is none. May be NULL. */
typedef tr_status tr__ptxas_ask(void *context, char version[24], tr_error **error);
typedef struct tr__ptxas_versions {
    tr_status (*get)(void *user, tr__hash identity, tr__ptxas_ask *ask, void *context, char version[24],
                     tr_error **error);
    void *user;
} tr__ptxas_versions;

/* The first that knows `arch` of: the environment's TRITON_PTXAS_PATH (TRITON_PTXAS_BLACKWELL_PATH), the
   installation's own, TRITON_RUNNER_PTXAS, CUDA_HOME, CUDA_PATH, /usr/local/cuda, PATH. arch NULL: the first
   at all. TR_E_COMPILER_MISSING names what was looked at. */
tr_status tr__ptxas_find(tr__native *native, const char *arch, const tr__ptxas_triton *triton,
                         const char *const *environment, const tr__ptxas_versions *versions,
                         tr__ptxas_tool *out, tr_error **error);
void tr__ptxas_tool_release(tr__ptxas_tool *tool);

/* "305" for "3.5.1", "1208" for "12.8"; 0 for NULL and for what is no version. */
uint32_t tr__ptxas_release(const char *version);

/* ---- ptxas_log.c ---- */

/* "<name>:5: Not a name of any known instruction: 'addd'" of the first error in its output; free() it. NULL:
   none. */
char *tr__ptxas_first_error(const char *log, const char *name);

/* What -v tells of an entry (NULL: of the last one) as "registers", "barriers", "static_shared",
   "local_bytes", "spills" (bytes stored), "spill_load_bytes", "constant_bytes"; NULL when it tells nothing.
 */
json_t *tr__ptxas_usage(const char *log, const char *kernel);

#endif
