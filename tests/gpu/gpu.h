/* Tests that need a device which runs kernels. One process, one line for each test, the next one goes on after a
   failure. Its kernels are PTX written here, so that a build of this program needs nothing beside the examples' files. */
#ifndef TEST_GPU_H
#define TEST_GPU_H

#include "base/buffer.h"
#include "driver/driver.h"
#include "launch/kernel.h"
#include "runner.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct gpu {
    const char *name; /* "cuda", "cpu" */
    const char *root; /* of the repository */
    bool cpu;
    bool sanitized;                            /* compute-sanitizer runs the program */
    int architecture, target, multiprocessors; /* target: of the PTX written here */
    tr_runner *runner;
    tr__driver *driver;
    jmp_buf failed;
    char why[1024];
} gpu;

/* Ends the test. */
__attribute__((noreturn, format(printf, 2, 3))) void fail(gpu *gpu, const char *format, ...);
#define need(gpu, condition)                                                                                 \
    do {                                                                                                     \
        if (!(condition)) fail(gpu, "%s:%d: %s", __FILE__, __LINE__, #condition);                            \
    } while (0)
#define ok(gpu, call)                                                                                        \
    do {                                                                                                     \
        tr_error *error = NULL;                                                                              \
        succeed(gpu, call, error, #call, __LINE__);                                                          \
    } while (0)
#define succeed(gpu, call, error, text, line)                                                                \
    do {                                                                                                     \
        tr_status got = call;                                                                                \
        if (got)                                                                                             \
            fail(gpu, "line %d: %s: %s: %s%s%s", line, text, tr_status_name(got), tr_error_message(error),   \
                 *tr_error_log(error) ? "\n" : "", tr_error_log(error));                                     \
    } while (0)
#define cu(gpu, call)                                                                                        \
    do {                                                                                                     \
        CUresult got = (gpu)->driver->call;                                                                  \
        if (got) fail(gpu, "line %d: %s: CUresult %d", __LINE__, #call, (int)got);                           \
    } while (0)

/* parameters: JSON of the record's list; keys: more of Triton's own, each with a comma behind it. */
tr_kernel *load_ptx(gpu *gpu, const char *name, const char *ptx, const char *parameters, const char *keys);
/* "head .visible .entry name(parameters) .reqntid threads { registers body }" */
char *write_ptx(const gpu *gpu, const char *name, const char *parameters, int threads, const char *body);
#define HIDDEN  ".param .u64 g,\n.param .u64 s"
#define NOTHING "\"shared\": 0, \"global_scratch_size\": 0, \"global_scratch_align\": 1, "
tr_kernel *load_example(gpu *gpu, tr_runner *runner, const char *name, const char *stage);

uint64_t allocate(gpu *gpu, size_t bytes); /* zeroed */
void read_back(gpu *gpu, void *to, uint64_t from, size_t bytes);
void launch(gpu *gpu, const tr_kernel *kernel, uint32_t grid, CUstream stream, const tr_arg *args,
            size_t count);

/* abi.c */
void test_abi(gpu *gpu);
/* features.c. together(out, in, value) is cooperative: in[0] counts the CTAs that have come; each waits for all of the grid
   and writes how many they are, and `value`. step(out, in) may begin before the kernel ahead of it has ended, waits for its
   data, takes 20 µs, and adds one to each word. */
tr_kernel *load_together(gpu *gpu);
tr_kernel *load_step(gpu *gpu);
void test_clusters(gpu *gpu);
void test_cooperative(gpu *gpu);
void test_programmatic(gpu *gpu);
void test_shared(gpu *gpu);
void test_destroy_in_flight(gpu *gpu);
void test_contexts(gpu *gpu);
void test_refused_images(gpu *gpu);
void test_sticky(gpu *gpu);
/* scratch.c. Each CTA leaves `value` + its words' numbers in its scratch memory, waits, and copies them to `out`. */
tr_kernel *load_scratching(gpu *gpu, char **ptx);
void test_scratch(gpu *gpu);
void test_graph(gpu *gpu);
void test_graph_descriptor(gpu *gpu);
void test_threads(gpu *gpu);
/* plan.c */
void test_plan_changes(gpu *gpu);
void test_plan_builds(gpu *gpu);
/* plan_tell.c */
void test_plan_tell(gpu *gpu);
/* plan_features.c */
void test_plan_cooperative(gpu *gpu);
void test_plan_clusters(gpu *gpu);
void test_plan_shared(gpu *gpu);
void test_plan_programmatic(gpu *gpu);
void test_plan_descriptors(gpu *gpu);
void test_plan_scratch(gpu *gpu);
/* plan_moments.c */
void test_plan_record(gpu *gpu);
void test_plan_in_a_capture(gpu *gpu);
void test_plan_threads(gpu *gpu);
void test_plan_devices(gpu *gpu);
/* mistakes.c */
void test_mistakes(gpu *gpu);
/* cost.c */
void test_cost(gpu *gpu);

#endif
