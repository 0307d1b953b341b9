/* What tr_launch adds to cuLaunchKernelEx: medians of bursts shorter than the driver's queue, in turns, in one run. */
#include "gpu.h"

#include "bench/raw.h"

#include <time.h>

enum { BURST = 400, BURSTS = 101 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values) {
    qsort(values, BURSTS, sizeof *values, compare);
    return values[BURSTS / 2];
}

typedef struct job {
    gpu *gpu;
    tr_kernel *kernel;
    CUfunction function;
    tr_launch_config config;
    tr_arg args[64];
    size_t count, size;
    char packed[1024];
} job;

static double burst_raw(const job *job) {
    double begin = now();
    for (int i = 0; i < BURST; i++)
        if (raw_launch(job->gpu->driver->cuLaunchKernelEx, job->function, 1, job->config.stream, job->packed,
                       job->size))
            fail(job->gpu, "a raw launch failed");
    return (now() - begin) / BURST;
}

static double burst_launch(const job *job) {
    double begin = now();
    for (int i = 0; i < BURST; i++)
        if (tr_launch(job->kernel, &job->config, job->args, job->count, NULL))
            fail(job->gpu, "tr_launch failed");
    return (now() - begin) / BURST;
}

static double burst_packed(const job *job) {
    double begin = now();
    for (int i = 0; i < BURST; i++)
        if (tr_launch_packed(job->kernel, &job->config, job->packed, job->size, NULL))
            fail(job->gpu, "tr_launch_packed failed");
    return (now() - begin) / BURST;
}

static void make_job(gpu *gpu, job *job, size_t count, char **ptx) {
    static const char *const types[] = {"*fp32", "i32", "fp32"}, *const kinds[] = {".u64", ".u32", ".f32"};
    tr__buffer declared = {0}, list = {0};
    for (size_t i = 0; i < count; i++) {
        tr__buffer_printf(&declared, ".param %s p%zu,\n", kinds[i % 3], i);
        tr__buffer_printf(&list, "%s{\"type\": \"%s\"%s}", i ? ", " : "", types[i % 3],
                          i % 3 < 2 ? ", \"divisibility\": 16" : "");
        job->args[i] = i % 3 == 0 ? tr_arg_ptr(0x1000 * i) : i % 3 == 1 ? tr_arg_i32(16) : tr_arg_f32(1.5f);
    }
    tr__buffer_puts(&declared, ".param .u64 g,\n.param .u64 s");
    *ptx = write_ptx(gpu, "nop", declared.data, 128, "");
    job->gpu = gpu;
    job->count = count;
    job->kernel = load_ptx(gpu, "nop", *ptx, list.data ? list.data : "",
                           "\"shared\": 0, \"global_scratch_size\": 0, \"global_scratch_align\": 1, ");
    job->size = job->kernel->pack->size;
    ok(gpu, tr_kernel_pack(job->kernel, job->args, count, job->packed, sizeof job->packed, &error));
    ok(gpu, tr_kernel_function(job->kernel, (void **)&job->function, &error));
    tr__buffer_release(&declared);
    tr__buffer_release(&list);
}

void test_cost(gpu *gpu) {
    static const struct {
        size_t count;
        double limit;
    } cases[] = {{0, 1.02}, {19, 1.02}, {58, 1.04}};
    static double raw[BURSTS], launched[BURSTS], packed[BURSTS];
    tr__scope scope;
    CUstream stream;
    bool over = false;
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    cu(gpu, cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    printf("    %9s %9s %12s %7s %9s %7s\n", "arguments", "raw, ns", "tr_launch", "ratio", "packed", "ratio");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        static job job;
        char *ptx;
        job = (struct job){.config = TR_LAUNCH_CONFIG_INIT};
        job.config.stream = stream;
        make_job(gpu, &job, cases[k].count, &ptx);
        for (int i = -10; i < BURSTS; i++) { /* the first ones warm up */
            int at = i < 0 ? 0 : i;
            raw[at] = burst_raw(&job);
            cu(gpu, cuStreamSynchronize(stream));
            launched[at] = burst_launch(&job);
            cu(gpu, cuStreamSynchronize(stream));
            packed[at] = burst_packed(&job);
            cu(gpu, cuStreamSynchronize(stream));
        }
        double r = median(raw), l = median(launched), p = median(packed);
        printf("    %9zu %9.0f %12.0f %7.3f %9.0f %7.3f\n", cases[k].count, r, l, l / r, p, p / r);
        over |= l / r > cases[k].limit;
        tr_kernel_destroy(job.kernel);
        free(ptx);
    }
    cu(gpu, cuStreamDestroy(stream));
    tr__driver_leave(gpu->driver, &scope);
    if (over) fail(gpu, "tr_launch is over 1.02, 1.02 or 1.04 times the raw call");
}
