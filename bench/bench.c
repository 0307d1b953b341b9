#include "bench.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench_driver cu;

void bench_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

void bench_check(tr_status status, tr_error *error) {
    if (status)
        bench_fail("%s: %s\n%s", tr_status_name(status), tr_error_message(error), tr_error_log(error));
}

void bench_need(CUresult result, const char *what) {
    const char *name = "?";
    if (!result) return;
    if (cu.cuGetErrorName) cu.cuGetErrorName(result, &name);
    bench_fail("%s: CUresult %d, %s", what, (int)result, name);
}

const char *bench_option(int argc, char **argv, const char *name) {
    const char *found = "";
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name)) continue;
        found = argv[i + 1];
        argv[i] = argv[i + 1] = ""; /* taken */
    }
    return found;
}

void bench_parse(bench *bench, int argc, char **argv) {
    const char *rounds = bench_option(argc, argv, "--rounds");
    bench->device = bench_option(argc, argv, "--device");
    bench->json = bench_option(argc, argv, "--json");
    bench->svg = bench_option(argc, argv, "--svg");
    bench->python = bench_option(argc, argv, "--python");
    bench->rounds = atoi(rounds);
    if (!*bench->device) bench->device = "cuda";
    bench->cpu = !strncmp(bench->device, "cpu", 3);
    for (int i = 1; i < argc; i++)
        if (*argv[i]) bench_fail("%s: '%s' is no option; look at the head of its source", argv[0], argv[i]);
}

static void open_driver(const bench *bench) {
    static const struct {
        const char *name;
        size_t offset;
    } symbols[] = {
#define CUDA_REQUIRED(name, symbol, since, parameters) {#symbol, offsetof(struct bench_driver, name)},
#define CUDA_OPTIONAL(name, symbol, since, parameters) {#symbol, offsetof(struct bench_driver, name)},
#include "driver/cuda_symbols.inc"
    };
    const char *named = getenv("TRITON_RUNNER_LIBCUDA");
    const char *path = bench->cpu ? "libtriton_runner_cpu.so" : named ? named : "libcuda.so.1";
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD); /* the runner has it open */
    if (!library) bench_fail("the driver: %s", dlerror());
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        memcpy((char *)&cu + symbols[i].offset, &found, sizeof found);
    }
}

static void name_machine(bench *bench) {
    char name[128] = "", day[16];
    int version = 0, major = 0, minor = 0;
    CUdevice device;
    time_t now = time(NULL);
    CU(cuCtxGetDevice(&device));
    CU(cuDeviceGetName(name, sizeof name, device));
    CU(cuDriverGetVersion(&version));
    CU(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
    CU(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
    bench->arch = 10 * major + minor;
    strftime(day, sizeof day, "%Y-%m-%d", gmtime(&now));
    snprintf(bench->machine, sizeof bench->machine, "%s, driver for CUDA %d.%d, %s", name, version / 1000,
             version % 1000 / 10, day);
}

void bench_start(bench *bench, int argc, char **argv) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    bench_parse(bench, argc, argv);
    options.device = bench->device;
    options.cache_dir = "";
    RUN(tr_runner_create(&options, &bench->runner, &error));
    RUN(tr_device_synchronize(bench->runner, &error)); /* starts the driver */
    open_driver(bench);
    CU(cuDevicePrimaryCtxRetain(&bench->context, 0));
    CU(cuCtxPushCurrent(bench->context));
    CU(cuStreamCreate(&bench->stream, 1)); /* without waiting for the default stream */
    name_machine(bench);
}

double bench_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

const char *bench_file(const char *name, char *path, size_t size) {
    const char *folder = getenv("TR_BENCH_DIR");
    snprintf(path, size, "%s/%s", folder && *folder ? folder : BENCH_DIR, name);
    return path;
}

enum { ROUNDS_MAX = 4096, ROUNDS_CPU = 3, WARM = 2 };

void bench_measure(const bench *bench, chart *chart, int row, int rounds, bench_way way, void *user) {
    static double values[CHART_COLUMNS][ROUNDS_MAX], ratios[CHART_COLUMNS][ROUNDS_MAX];
    int ways = chart->columns;
    if (bench->cpu) rounds = ROUNDS_CPU;
    if (bench->rounds) rounds = bench->rounds;
    if (rounds > ROUNDS_MAX) rounds = ROUNDS_MAX;
    for (int round = -WARM; round < rounds; round++) {
        int at = round < 0 ? 0 : round;
        for (int i = 0; i < ways; i++) {
            int k = (i + at) % ways;
            if (at / ways % 2) k = ways - 1 - k;
            values[k][at] = way(user, k);
        }
        for (int k = 0; k < ways; k++) ratios[k][at] = values[k][at] / values[chart->base][at];
    }
    for (int k = 0; k < ways; k++) {
        chart->value[row][k] = bench_median(values[k], rounds);
        chart->ratio[row][k] = bench_median(ratios[k], rounds);
    }
}

void bench_bound(bench *bench, const char *what, double got, int kind, double bound) {
    if (bench->cpu) return;
    bool over = kind == AT_MOST ? !(got <= bound) : !(got >= bound);
    bench->over += over;
    printf("%-8s %s: %.3f (at %s %g)\n", over ? "MISSED" : "kept", what, got,
           kind == AT_MOST ? "most" : "least", bound);
}

/* The second of several charts goes to name-2.json. */
static const char *numbered(const char *path, int number, char *space, size_t size) {
    const char *dot = strrchr(path, '.');
    if (!number) return path;
    if (!dot) dot = path + strlen(path);
    snprintf(space, size, "%.*s-%d%s", (int)(dot - path), path, number + 1, dot);
    return space;
}

int bench_finish(bench *bench, const chart *charts, int count) {
    char space[4096];
    for (int i = 0; i < count; i++) {
        chart_print(&charts[i]);
        bool ok =
            !*bench->json || chart_write_json(&charts[i], numbered(bench->json, i, space, sizeof space));
        if (ok && *bench->svg) ok = chart_write_svg(&charts[i], numbered(bench->svg, i, space, sizeof space));
        if (!ok) bench_fail("writing the results failed");
    }
    if (bench->stream) CU(cuStreamDestroy(bench->stream));
    tr_runner_destroy(bench->runner);
    return bench->over ? EXIT_FAILURE : EXIT_SUCCESS;
}
