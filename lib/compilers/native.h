/* The compilers that are not Triton, in a process of their own: LLVM, nvJitLink and any ptxas. Each has a
   helper (helper.c) that starts when it is first needed; hostile input kills a child of that and nothing
   else, and a time limit or a cancelled request ends it. */
#ifndef TR_COMPILERS_NATIVE_H
#define TR_COMPILERS_NATIVE_H

#include "compilers/compiler.h"

typedef struct tr__native tr__native;

#define TR__HELPER_FILE "triton-runner-helper"
#define TR__PLUGIN_FILE "libtriton_runner_llvm.so"

/* Paths of the two files above, which need not exist. Starts and opens nothing. */
tr_status tr__native_create(const char *helper, const char *plugin, tr__native **out, tr_error **error);
void tr__native_destroy(tr__native *native); /* NULL is accepted; no call may be under way */

/* From any thread: llir → ptx by LLVM, ptx → cubin by nvJitLink. in_process opens them here instead, where no
   time limit holds, nothing can be cancelled, and what crashes them crashes the caller. */
tr_status tr__native_compile(tr__native *native, const tr__compile_request *request, bool in_process,
                             tr__compile_result *result, tr_error **error);

/* Runs a program on the request's source: its file 0 is the source, 3 is where the result goes, 1 and 2 are
   the log; all are memory, reached as /proc/self/fd/N. TR_E_COMPILE when its exit status isn't 0. */
tr_status tr__native_execute(tr__native *native, const tr__compile_request *request, const char *const *argv,
                             tr__compile_result *result, tr_error **error);

/* The version of LLVM in the plugin, of nvJitLink: as "22.1.8", "13.0"; opened in this process. free() it. */
tr_status tr__native_llvm_version(tr__native *native, char **version, tr_error **error);
tr_status tr__native_nvjitlink_version(tr__native *native, char **version, tr_error **error);

/* ---- what the helper does, and this process when asked to ---- */

/* native_llvm.c */
tr_status tr__llvm_open(const char *plugin, const char **version, tr_error **error);
tr_status tr__llvm_compile(const char *plugin, const tr__compile_request *request, tr__compile_result *result,
                           tr_error **error);

/* native_nvjitlink.c: libnvJitLink.so.13 or .12, from TRITON_RUNNER_NVJITLINK, the loader's folders,
   CUDA_HOME, CUDA_PATH or /usr/local/cuda */
tr_status tr__nvjitlink_open(unsigned *major, unsigned *minor, tr_error **error);
tr_status tr__nvjitlink_compile(const tr__compile_request *request, tr__compile_result *result,
                                tr_error **error);

#endif
