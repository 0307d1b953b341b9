/* launch_cost HOW COUNT LAUNCHES: that many launches of a kernel of COUNT arguments on the no-op driver.
     raw     cuLaunchKernelEx with a packed buffer, as a program that knows everything would
     launch  tr_launch
     packed  tr_launch_packed
     pack    tr_kernel_pack
     set     tr_plan_set with other arguments and another grid each time
     step    the same, and the plan is launched
   Once warm, nothing may be allocated.
   A third are pointers, a third i32 (each second a promised multiple of 16), a third fp32. The cost of one launch is
   the difference between two numbers of launches, and the library's own that between two ways. */
#include "bench/raw.h"
#include "launch.h"

/* Every allocation of the process goes through here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
static unsigned long allocations;

__attribute__((visibility("default"))) void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *memory, size_t size) {
    allocations++;
    return __libc_realloc(memory, size);
}

static char *make_signature(int count) {
    static const char *const types[] = {"*fp32:16", "i32:16", "fp32", "*fp16:16", "i32", "fp32"};
    tr__buffer text = {0};
    for (int i = 0; i < count; i++) tr__buffer_printf(&text, "%s%s", i ? ", " : "", types[i % 6]);
    if (!count) tr__buffer_puts(&text, "");
    return text.data ? text.data : calloc(1, 1);
}

static tr_arg make_argument(int i) {
    if (i % 3 == 0) return tr_arg_ptr(0x7f0000000000 + 4096u * (uint64_t)i);
    return i % 3 == 1 ? tr_arg_i32(16 * i) : tr_arg_f32((float)i);
}

typedef struct job {
    tr_kernel *kernel;
    tr_launch_config config;
    tr_arg args[64];
    size_t count, size;
    char packed[1024];
    CUfunction function;
    tr_plan *plan;
    tr_arg others[64];
} job;

static tr_status raw(job *job, long i) {
    if (raw_launch(cuLaunchKernelEx, job->function, job->config.grid[0], job->config.stream, job->packed,
                   job->size))
        abort();
    return TR_OK;
}

static tr_status launch(job *job, long i) {
    return tr_launch(job->kernel, &job->config, job->args, job->count, NULL);
}

static tr_status packed(job *job, long i) {
    return tr_launch_packed(job->kernel, &job->config, job->packed, job->size, NULL);
}

static tr_status pack(job *job, long i) {
    const tr_arg *args = i % 2 ? job->args : job->others;
    return tr_kernel_pack(job->kernel, args, job->count, job->packed, job->size, NULL);
}

static tr_status set(job *job, long i) {
    const uint32_t grid[3] = {1 + (uint32_t)i % 2, 1, 1};
    return tr_plan_set(job->plan, 0, grid, i % 2 ? job->args : job->others, job->count, NULL);
}

static tr_status step(job *job, long i) {
    tr_status status = set(job, i);
    return status ? status : tr_plan_launch(job->plan, NULL, NULL);
}

static const struct {
    const char *name;
    tr_status (*run)(job *job, long i);
} ways[] = {{"raw", raw},   {"launch", launch}, {"packed", packed},
            {"pack", pack}, {"set", set},       {"step", step}};
enum { WAYS = sizeof ways / sizeof *ways };

static void repeat(job *job, int way, long count) {
    for (long i = count; i > 0; i--)
        if (ways[way].run(job, i)) abort();
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    tr_runner *runner;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    CUcontext context;
    CUstream stream;
    static job job = {.config = TR_LAUNCH_CONFIG_INIT};
    int way = 0;
    while (way < WAYS && strcmp(argv[1], ways[way].name)) way++;
    if (way == WAYS) return 2;
    options.cache_dir = "";
    job.count = (size_t)atoi(argv[2]);
    if (tr_runner_create(&options, &runner, NULL) || cuInit(0) || cuCtxCreate_v2(&context, 0, 0)) return 1;
    if (cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING)) return 1;
    job.config.stream = stream; /* on the default stream a launch asks less */
    char *signature = make_signature((int)job.count);
    job.kernel = make_kernel(runner, "nop", signature, NULL);
    for (size_t i = 0; i < job.count; i++)
        job.args[i] = make_argument((int)i), job.others[i] = make_argument((int)i + 60);
    job.size = job.kernel->pack->size;
    if (tr_kernel_pack(job.kernel, job.args, job.count, job.packed, sizeof job.packed, NULL)) return 1;
    if (tr_kernel_function(job.kernel, (void **)&job.function, NULL)) return 1;
    if (tr_plan_create(runner, &job.plan, NULL)) return 1;
    if (tr_plan_add(job.plan, job.kernel, NULL, job.args, job.count, NULL, 0, NULL, NULL)) return 1;
    repeat(&job, way, 10);
    unsigned long before = allocations;
    repeat(&job, way, atol(argv[3]));
    if (allocations != before) {
        printf("%lu allocations\n", allocations - before);
        return 3;
    }
    tr_plan_destroy(job.plan);
    free(signature);
    tr_kernel_destroy(job.kernel);
    tr_runner_destroy(runner);
    cuStreamDestroy_v2(stream);
    cuCtxDestroy_v2(context);
    return 0;
}
