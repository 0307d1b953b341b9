/* The five example kernels at a size, on a device: arrays, arguments and a float64 reference of sampled rows; and from any
   stage a graph of launches that is timed by events, so that no launch's cost is in it. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bench.h"

enum { WORKLOAD_ARRAYS = 6, WORKLOAD_ARGS = 9 };

typedef struct workload_kind {
    const char *name;
    const char *signature, *options; /* as for an sm_90 GPU; of the kept stages (sm_89) for the CPU device */
    int tile[2];
    int64_t size[3];
} workload_kind;

typedef struct workload {
    const bench *bench;
    workload_kind kind;
    int64_t size[3]; /* m, n, k; rows, columns; n */
    uint64_t array[WORKLOAD_ARRAYS];
    void *host[WORKLOAD_ARRAYS]; /* the inputs, for the reference */
    size_t bytes[WORKLOAD_ARRAYS];
    int arrays, out;
    tr_launch_config config;
    tr_arg args[WORKLOAD_ARGS];
    size_t arg_count;
    int launches; /* in a graph */
} workload;

extern const char *const workload_names[5];

/* size NULL: the kind's own. */
void workload_make(workload *workload, const bench *bench, const char *name, const int64_t *size);
void workload_free(workload *workload);

/* From the example's Python, compiled with what the kind says. */
tr_status workload_load_python(const workload *workload, tr_program **out, tr_error **error);
tr_status workload_compile(const workload *workload, const tr_program *program, tr_stage stage,
                           const char *llvm, tr_program **out, tr_error **error);
/* A stage that a folder keeps: folder/name.ttir */
tr_status workload_load_kept(const workload *workload, const char *folder, tr_stage stage, tr_program **out,
                             tr_error **error);
/* "…/examples/kernels" */
const char *workload_folder(void);

/* Launches once, checks, captures. */
CUgraphExec workload_capture(workload *workload, const tr_kernel *kernel, const char *what);
double workload_replay(const workload *workload, CUgraphExec exec); /* ms per launch, by events */
void workload_check(const workload *workload, CUgraphExec exec, const char *what);

#endif
