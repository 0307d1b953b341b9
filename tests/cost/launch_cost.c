/* launch_cost HOW COUNT LAUNCHES: that many launches of a kernel of COUNT arguments on the no-op driver.
     raw     cuLaunchKernelEx with a packed buffer, as a program that knows everything would
     launch  tr_launch
     packed  tr_launch_packed
   A third are pointers, a third i32 (each second a promised multiple of 16), a third fp32. The cost of one launch is
   the difference between two numbers of launches, and the library's own that between two ways. */
#include "launch.h"

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
} job;

__attribute__((noinline)) static void launch_raw(const job *job) {
    size_t size = job->size;
    CUlaunchConfig launch = {.gridDimX = job->config.grid[0],
                             .gridDimY = job->config.grid[1],
                             .gridDimZ = job->config.grid[2],
                             .blockDimX = 128,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .hStream = job->config.stream};
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)job->packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    if (cuLaunchKernelEx(&launch, job->function, NULL, extra)) abort();
}

static void launch(const job *job, const char *how) {
    tr_status status = TR_OK;
    if (*how == 'r')
        launch_raw(job);
    else if (*how == 'l')
        status = tr_launch(job->kernel, &job->config, job->args, job->count, NULL);
    else
        status = tr_launch_packed(job->kernel, &job->config, job->packed, job->size, NULL);
    if (status) abort();
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    tr_runner *runner;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    CUcontext context;
    static job job = {.config = TR_LAUNCH_CONFIG_INIT};
    options.cache_dir = "";
    job.count = (size_t)atoi(argv[2]);
    if (tr_runner_create(&options, &runner, NULL) || cuInit(0) || cuCtxCreate_v2(&context, 0, 0)) return 1;
    char *signature = make_signature((int)job.count);
    job.kernel = make_kernel(runner, "nop", signature, NULL);
    for (size_t i = 0; i < job.count; i++) job.args[i] = make_argument((int)i);
    job.size = job.kernel->pack->size;
    if (tr_kernel_pack(job.kernel, job.args, job.count, job.packed, sizeof job.packed, NULL)) return 1;
    if (tr_kernel_function(job.kernel, (void **)&job.function, NULL)) return 1;
    for (long i = atol(argv[3]); i > 0; i--) launch(&job, argv[1]);
    free(signature);
    tr_kernel_destroy(job.kernel);
    tr_runner_destroy(runner);
    cuCtxDestroy_v2(context);
    return 0;
}
