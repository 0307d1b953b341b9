/* launch_latency [--device D] [--json FILE] [--svg FILE]: CPU time of a launch, beside the driver's own.

   Kernels of 0, 19 and 58 arguments (the first counts the launches that arrive), launched in bursts shorter than the
   driver's queue, the ways in turns, and of each the median burst:
     raw      cuLaunchKernelEx with the packed buffer
     launch   tr_launch
     packed   tr_launch_packed
     graph    one launch of a graph of as many kernels, per kernel */
#include "chart.h"

#include <triton_runner.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BURST = 400, BURSTS = 101, WARM = 10, ARGUMENTS = 58, WAYS = 4 };

static void check(tr_status status, tr_error *error) {
    if (!status) return;
    fprintf(stderr, "%s: %s\n%s", tr_status_name(status), tr_error_message(error), tr_error_log(error));
    exit(EXIT_FAILURE);
}

/* ---- the driver, as a program without this library would use it ---- */

typedef struct launch_config { /* CUlaunchConfig */
    unsigned int grid[3], block[3], shared;
    void *stream, *attributes;
    unsigned int attribute_count;
} launch_config;

static struct {
    int (*launch)(const launch_config *config, void *function, void **parameters, void **extra);
    int (*stream_create)(void **stream, unsigned int flags);
    int (*synchronize)(void *stream);
    int (*begin_capture)(void *stream, int mode);
    int (*end_capture)(void *stream, void **graph);
    int (*instantiate)(void **exec, void *graph, unsigned long long flags);
    int (*graph_launch)(void *exec, void *stream);
    int (*retain)(void **context, int device);
    int (*push)(void *context);
    int (*device_name)(char *name, int size, int device);
    int (*version)(int *version);
} cu;

static void need(int result, const char *what) {
    if (!result) return;
    fprintf(stderr, "%s: CUresult %d\n", what, result);
    exit(EXIT_FAILURE);
}

static void find(void *library, const char *name, void *out) {
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) {
        fprintf(stderr, "no driver: %s\n", dlerror());
        exit(EXIT_FAILURE);
    }
    memcpy(out, &found, sizeof found);
}

static void open_driver(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    find(library, "cuLaunchKernelEx", &cu.launch);
    find(library, "cuStreamCreate", &cu.stream_create);
    find(library, "cuStreamSynchronize", &cu.synchronize);
    find(library, "cuStreamBeginCapture_v2", &cu.begin_capture);
    find(library, "cuStreamEndCapture", &cu.end_capture);
    find(library, "cuGraphInstantiateWithFlags", &cu.instantiate);
    find(library, "cuGraphLaunch", &cu.graph_launch);
    find(library, "cuDevicePrimaryCtxRetain", &cu.retain);
    find(library, "cuCtxPushCurrent_v2", &cu.push);
    find(library, "cuDeviceGetName", &cu.device_name);
    find(library, "cuDriverGetVersion", &cu.version);
}

/* ---- one kernel, launched in each way ---- */

typedef struct job {
    tr_runner *runner;
    tr_kernel *kernel;
    void *function, *stream, *exec;
    tr_launch_config config;
    tr_arg args[ARGUMENTS];
    size_t count, size;
    char packed[1024];
    uint64_t counter;
    unsigned launches;
} job;

static void make_kernel(job *job, size_t count) {
    static const char *const types[] = {"*i32", "i32", "fp32"}, *const kinds[] = {".u64", ".u32", ".f32"};
    char declared[4096] = "", list[4096] = "", ptx[8192], metadata[8192];
    for (size_t i = 0; i < count; i++) {
        sprintf(declared + strlen(declared), ".param %s p%zu,\n", kinds[i % 3], i);
        sprintf(list + strlen(list), "%s{\"type\": \"%s\"}", i ? ", " : "", types[i % 3]);
        job->args[i] = i % 3 == 0 ? tr_arg_ptr(job->counter) : i % 3 == 1 ? tr_arg_i32(7) : tr_arg_f32(1.5f);
    }
    snprintf(ptx, sizeof ptx,
             ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry counting(\n%s.param .u64 "
             "g,\n.param .u64 s\n)\n"
             ".reqntid 128\n{\n.reg .pred %%p<2>;\n.reg .b32 %%r<2>;\n.reg .b64 %%d<2>;\n%sret;\n}\n",
             declared,
             count ? "mov.u32 %r0, %tid.x;\nsetp.ne.u32 %p0, %r0, 0;\nld.param.u64 %d0, [p0];\n"
                     "@!%p0 red.global.add.u32 [%d0], 1;\n"
                   : "");
    snprintf(metadata, sizeof metadata,
             "{\"name\": \"counting\", \"num_warps\": 4, \"shared\": 0, \"global_scratch_size\": 0, "
             "\"global_scratch_align\": 1, \"triton_version\": \"3.7.1\", \"triton_runner\": {\"kernel\": "
             "\"counting\", "
             "\"parameters\": [%s], \"hidden\": [\"global_scratch\", \"profile_scratch\"]}}",
             list);
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program;
    tr_error *error;
    options.data = ptx, options.size = strlen(ptx), options.metadata = metadata;
    tr_status status = tr_load_stage(job->runner, TR_STAGE_PTX, NULL, &options, &program, &error);
    check(status, error);
    status = tr_kernel_create(program, &job->kernel, &error);
    check(status, error);
    tr_program_destroy(program);
    job->count = count;
}

static void prepare(job *job, size_t count) {
    tr_error *error;
    int64_t size;
    void *graph;
    unsigned zero = 0;
    tr_status status = tr_device_alloc(job->runner, sizeof zero, &job->counter, &error);
    check(status, error);
    status = tr_device_write(job->runner, job->counter, &zero, sizeof zero, &error);
    check(status, error);
    make_kernel(job, count);
    status = tr_kernel_attribute(job->kernel, TR_ATTRIBUTE_PACKED_SIZE, &size, &error);
    check(status, error);
    job->size = (size_t)size;
    status = tr_kernel_pack(job->kernel, job->args, count, job->packed, sizeof job->packed, &error);
    check(status, error);
    status = tr_kernel_function(job->kernel, &job->function, &error);
    check(status, error);
    need(cu.begin_capture(job->stream, 0), "capture");
    for (int i = 0; i < BURST; i++) {
        status = tr_launch(job->kernel, &job->config, job->args, count, &error);
        check(status, error);
    }
    need(cu.end_capture(job->stream, &graph), "capture");
    need(cu.instantiate(&job->exec, graph, 0), "graph");
}

static void launch_burst(job *job, int way) {
    tr_error *error = NULL;
    if (way == 3) need(cu.graph_launch(job->exec, job->stream), "graph");
    for (int i = 0; i < BURST && way < 3; i++) {
        tr_status status = TR_OK;
        if (way == 1) status = tr_launch(job->kernel, &job->config, job->args, job->count, &error);
        if (way == 2) status = tr_launch_packed(job->kernel, &job->config, job->packed, job->size, &error);
        check(status, error);
        if (way) continue;
        size_t size = job->size;
        void *extra[] = {(void *)1, job->packed, (void *)2, &size, NULL};
        launch_config config = {{1, 1, 1}, {128, 1, 1}, 0, job->stream, NULL, 0};
        need(cu.launch(&config, job->function, NULL, extra), "raw");
    }
    job->launches += BURST;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(job *job, double medians[WAYS]) {
    static double times[WAYS][BURSTS];
    for (int i = -WARM; i < BURSTS; i++) {
        for (int way = 0; way < WAYS; way++) {
            double begin = now();
            launch_burst(job, way);
            times[way][i < 0 ? 0 : i] = (now() - begin) / BURST;
            need(cu.synchronize(job->stream), "a kernel");
        }
    }
    for (int way = 0; way < WAYS; way++) {
        qsort(times[way], BURSTS, sizeof(double), compare);
        medians[way] = times[way][BURSTS / 2];
    }
    unsigned arrived = 0;
    tr_error *error;
    tr_status status = tr_device_read(job->runner, &arrived, job->counter, sizeof arrived, &error);
    check(status, error);
    if (job->count && arrived != job->launches) {
        fprintf(stderr, "of %u launches %u arrived\n", job->launches, arrived);
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv) {
    const char *device = "cuda", *json = NULL, *svg = NULL, *driver = getenv("TRITON_RUNNER_LIBCUDA");
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--device")) device = argv[i + 1];
        if (!strcmp(argv[i], "--json")) json = argv[i + 1];
        if (!strcmp(argv[i], "--svg")) svg = argv[i + 1];
    }
    static job job;
    static const size_t counts[] = {0, 19, 58};
    char name[128] = "", machine[192];
    int version = 0;
    void *context, *stream;
    tr_error *error;
    tr_runner *runner;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.device = device;
    options.cache_dir = "";
    tr_status status = tr_runner_create(&options, &runner, &error);
    check(status, error);
    status = tr_device_synchronize(runner, &error); /* starts the driver */
    check(status, error);
    open_driver(driver ? driver : "libcuda.so.1");
    need(cu.retain(&context, 0), "the primary context");
    need(cu.push(context), "the primary context");
    need(cu.stream_create(&stream, 1), "a stream");
    cu.device_name(name, sizeof name, 0);
    cu.version(&version);
    snprintf(machine, sizeof machine, "%s, driver %d.%d", name, version / 1000, version % 1000 / 10);
    chart chart = {"CPU time of a launch",
                   "ns",
                   "arguments",
                   machine,
                   3,
                   WAYS,
                   {"0", "19", "58"},
                   {"cuLaunchKernelEx", "tr_launch", "tr_launch_packed", "graph replay"},
                   {{0}}};
    for (int i = 0; i < 3; i++) {
        job = (struct job){.runner = runner, .stream = stream, .config = TR_LAUNCH_CONFIG_INIT};
        job.config.stream = stream;
        prepare(&job, counts[i]);
        measure(&job, chart.value[i]);
        tr_kernel_destroy(job.kernel);
    }
    chart_print(&chart);
    if ((json && !chart_write_json(&chart, json)) || (svg && !chart_write_svg(&chart, svg))) {
        perror("writing");
        return EXIT_FAILURE;
    }
    tr_runner_destroy(runner);
    return EXIT_SUCCESS;
}
