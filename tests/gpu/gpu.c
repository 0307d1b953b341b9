#include "gpu.h"

#include "examples/demo_kernels.h"

#include <stdarg.h>
#include <unistd.h>

void fail(gpu *gpu, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(gpu->why, sizeof gpu->why, format, arguments);
    va_end(arguments);
    longjmp(gpu->failed, 1);
}

char *write_ptx(const gpu *gpu, const char *name, const char *parameters, int threads, const char *body) {
    char *ptx = NULL;
    if (asprintf(&ptx,
                 ".version 8.0\n.target sm_%d\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n"
                 ".visible .entry %s(\n%s\n)\n.reqntid %d\n{\n"
                 ".reg .pred %%p<8>;\n.reg .b16 %%h<8>;\n.reg .b32 %%r<32>;\n.reg .b64 %%d<32>;\n%sret;\n}\n",
                 gpu->target, name, parameters, threads, body) < 0)
        abort();
    return ptx;
}

tr_kernel *load_ptx(gpu *gpu, const char *name, const char *ptx, const char *parameters, const char *keys) {
    char *json = NULL;
    tr_program *program;
    tr_kernel *kernel;
    if (asprintf(
            &json,
            "{%s\"name\": \"%s\", \"num_warps\": 4, \"triton_version\": \"3.7.1\", \"profile_scratch_size\": "
            "0, "
            "\"profile_scratch_align\": 1, \"target\": {\"backend\": \"cuda\", \"arch\": %d, \"warp_size\": "
            "32}, "
            "\"triton_runner\": {\"kernel\": \"%s\", \"parameters\": [%s], \"hidden\": [\"global_scratch\", "
            "\"profile_scratch\"]}}",
            keys, name, gpu->target, name, parameters) < 0)
        abort();
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    options.data = ptx;
    options.size = strlen(ptx);
    options.metadata = json;
    ok(gpu, tr_load_stage(gpu->runner, TR_STAGE_PTX, NULL, &options, &program, &error));
    ok(gpu, tr_kernel_create(program, &kernel, &error));
    tr_program_destroy(program);
    free(json);
    return kernel;
}

tr_kernel *load_example(gpu *gpu, tr_runner *runner, const char *name, const char *stage) {
    char path[1024];
    tr_program *program;
    tr_kernel *kernel;
    snprintf(path, sizeof path, "%s/examples/kernels/stages/sm_%d/%s.%s", gpu->root, gpu->target, name,
             stage);
    ok(gpu, tr_load_stage(runner, TR_STAGE_AUTO, path, NULL, &program, &error));
    ok(gpu, tr_kernel_create(program, &kernel, &error));
    tr_program_destroy(program);
    return kernel;
}

uint64_t allocate(gpu *gpu, size_t bytes) {
    uint64_t ptr;
    char *zeros = calloc(1, bytes);
    ok(gpu, tr_device_alloc(gpu->runner, bytes, &ptr, &error));
    ok(gpu, tr_device_write(gpu->runner, ptr, zeros, bytes, &error));
    free(zeros);
    return ptr;
}

void read_back(gpu *gpu, void *to, uint64_t from, size_t bytes) {
    ok(gpu, tr_device_synchronize(gpu->runner, &error));
    ok(gpu, tr_device_read(gpu->runner, to, from, bytes, &error));
}

void launch(gpu *gpu, const tr_kernel *kernel, uint32_t grid, CUstream stream, const tr_arg *args,
            size_t count) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = grid;
    config.stream = stream;
    ok(gpu, tr_launch(kernel, &config, args, count, &error));
}

/* The five example kernels against float64 references. */
static void run_examples(gpu *gpu, const char *stage) {
    for (const demo_kernel *demo = demo_kernels; demo->name; demo++) {
        double largest = 0;
        tr_kernel *kernel = load_example(gpu, gpu->runner, demo->name, stage);
        ok(gpu, demo->run(gpu->runner, kernel, &largest, &error));
        printf("    %-10s from %-5s largest error %.2g (allowed %.2g)\n", demo->name, stage, largest,
               demo->tolerance);
        need(gpu, largest <= demo->tolerance);
        tr_kernel_destroy(kernel);
    }
}

static void test_examples_from_ptx(gpu *gpu) {
    run_examples(gpu, "ptx");
}

static void test_examples_from_cubin(gpu *gpu) {
    run_examples(gpu, "cubin");
}

/* needs: the least architecture; cpu: the CPU device can do it. */
static const struct test {
    const char *name;
    void (*run)(gpu *gpu);
    int needs;
    bool cpu;
} tests[] = {
    {"examples from ptx", test_examples_from_ptx, 0, true},
    {"examples from cubin", test_examples_from_cubin, 90, false},
    {"abi", test_abi, 0, true},
    {"clusters", test_clusters, 90, true},
    {"cooperative", test_cooperative, 0, true},
    {"programmatic", test_programmatic, 90, true},
    {"shared memory", test_shared, 90, true},
    {"scratch", test_scratch, 0, true},
    {"graph", test_graph, 0, true},
    {"graph with a descriptor", test_graph_descriptor, 90, true},
    {"threads", test_threads, 0, true},
    {"destroy in flight", test_destroy_in_flight, 0, true},
    {"contexts", test_contexts, 0, true},
    {"mistakes", test_mistakes, 90, true},
    {"refused images", test_refused_images, 0, true},
    {"plan changes", test_plan_changes, 0, true},
    {"plan builds", test_plan_builds, 0, true},
    {"plan tell", test_plan_tell, 0, true},
    {"plan cooperative", test_plan_cooperative, 0, true},
    {"plan clusters", test_plan_clusters, 90, true},
    {"plan shared memory", test_plan_shared, 90, true},
    {"plan programmatic", test_plan_programmatic, 90, true},
    {"plan descriptors", test_plan_descriptors, 90, true},
    {"plan scratch", test_plan_scratch, 0, true},
    {"plan record", test_plan_record, 0, true},
    {"plan in a capture", test_plan_in_a_capture, 0, true},
    {"plan threads", test_plan_threads, 0, true},
    {"plan devices", test_plan_devices, 0, false},
    {"cost", test_cost, 0, false},
    {"sticky errors", test_sticky, 0, true},
};

static bool has_mapped(const char *name) {
    char line[4352];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) found = found || strstr(line, name);
    if (maps) fclose(maps);
    return found;
}

static bool open_device(gpu *gpu, const char *device) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_error *error = NULL;
    int major = 0, minor = 0;
    options.device = device;
    options.cache_dir = "";
    if (tr_runner_create(&options, &gpu->runner, &error) ||
        tr__runner_driver(gpu->runner, &gpu->driver, &error)) {
        printf("SKIPPED: %s\n", tr_error_message(error));
        tr_error_destroy(error);
        tr_runner_destroy(gpu->runner);
        return false;
    }
    gpu->cpu = gpu->driver->cpu;
    gpu->sanitized = has_mapped("libsanitizer-collection");
    gpu->driver->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                      gpu->driver->device);
    gpu->driver->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                      gpu->driver->device);
    gpu->driver->cuDeviceGetAttribute(&gpu->multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                                      gpu->driver->device);
    gpu->architecture = 10 * major + minor;
    gpu->target = gpu->architecture >= 90 ? 90 : 89; /* what the examples are compiled for */
    char name[256] = "";
    gpu->driver->cuDeviceGetName(name, sizeof name, gpu->driver->device);
    printf("%s, sm_%d, driver %d\n", name, gpu->architecture, gpu->driver->version);
    return true;
}

static bool run_test(gpu *gpu, const char *name, void (*run)(struct gpu *gpu)) {
    if (setjmp(gpu->failed)) {
        printf("FAILED   %s: %s\n", name, gpu->why);
        return false;
    }
    run(gpu);
    printf("PASSED   %s\n", name);
    return true;
}

/* test_gpu [DEVICE [ROOT [TEST]]] */
int main(int argc, char **argv) {
    static gpu gpu;
    int failures = 0;
    gpu.name = argc > 1 ? argv[1] : "cuda";
    gpu.root = argc > 2 ? argv[2] : access(TR_SOURCE_DIR "/examples", R_OK) ? "." : TR_SOURCE_DIR;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!open_device(&gpu, gpu.name)) return 77;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        const struct test *test = &tests[i];
        if (argc > 3 && strcmp(argv[3], test->name)) continue;
        if (gpu.architecture < test->needs || (gpu.cpu && !test->cpu)) {
            printf("SKIPPED  %s: not on this device\n", test->name);
            continue;
        }
        failures += !run_test(&gpu, test->name, test->run);
    }
    tr_runner_destroy(gpu.runner);
    printf("%d failed\n", failures);
    return failures != 0;
}
