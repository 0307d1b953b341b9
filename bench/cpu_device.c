/* cpu_device [--kernel NAME] [--clock cpu] [--python INTERPRETER] [--rounds N] [--json FILE] [--svg FILE]: how fast the CPU device is. No GPU, no driver.

   The example kernels, executed by the machine itself, all ways in turns. Their PTX is in specialised/, as Triton's JIT
   specialises them for these sizes (triton-runner compile -t ptx with i32:16 for every size and stride):
     device             one thread, the default checks
     two threads
     all checks         one thread
     peer               vector_add: a C loop at -O3; matmul: OpenBLAS' sgemm on one thread, where libopenblas.so.0 is
     Triton interpreted the same work in Triton's interpreter mode, once, where --python (or python3) has torch and Triton
   --clock cpu takes the process's CPU time instead, for a machine that others use too; it says nothing of two threads.
   Results are compared with float64. Warp instructions are counted by the device. Bounds are ratios within the run;
   --rounds below 5 leaves them out. */
#include "bench.h"
#include "companion.h"
#include "machine.h"
#include "machine/counters.h"
#include "machine/program.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 25, ROUNDS_FOR_BOUNDS = 5, ARRAYS = 6 };
enum { DEVICE, TWO_THREADS, ALL_CHECKS, PEER, INTERPRETED, WAYS };
enum { VECTOR_ADD, SOFTMAX, LAYER_NORM, MATMUL, KERNELS_COUNT };
enum { ADDED = 4000000, ROWS = 2000, COLUMNS = 784, SIZE = 512, TILE = 64 };

static const char *const names[KERNELS_COUNT] = {"vector_add", "softmax", "layer_norm", "matmul"};

typedef void sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

typedef struct job {
    int kernel;
    trcpu_memory *memory;
    trcpu_module *module;
    trcpu_launch launch;
    uint32_t checks, all_checks;
    char parameters[256];
    uint32_t filled;
    void *array[ARRAYS]; /* the host's view of what the kernel gets */
    int arrays;
    float *a, *b, *c; /* sgemm's */
    sgemm *sgemm;
} job;

/* ---- what the kernels get ---- */
static void *add_array(job *job, size_t bytes) {
    uint64_t address = trcpu_memory_allocate(job->memory, bytes);
    void *host = address ? trcpu_memory_host(job->memory, address, bytes) : NULL;
    if (!host) bench_fail("out of memory");
    memset(host, 0, bytes);
    trcpu_memory_wrote(job->memory, address, bytes);
    job->filled = (job->filled + 7) & ~7u;
    memcpy(job->parameters + job->filled, &address, 8);
    job->filled += 8;
    return job->array[job->arrays++] = host;
}

static void add_word(job *job, uint32_t word) {
    memcpy(job->parameters + job->filled, &word, 4);
    job->filled += 4;
}

static void fill_floats(float *values, size_t count) {
    static uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

/* ±0.5 … ±1, which need no rounding to be halves. */
static void fill_halves(uint16_t *values, float *same, size_t count) {
    static uint32_t state = 7;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (uint16_t)((state >> 16 & 0x8000) | 14 << 10 | (state >> 16 & 1023));
        float value = 0.5f + (float)(values[i] & 1023) / 2048;
        if (same) same[i] = values[i] & 0x8000 ? -value : value;
    }
}

static double from_half(uint16_t half) {
    int exponent = half >> 10 & 31;
    double value = exponent ? ldexp((half & 1023) + 1024, exponent - 25) : ldexp(half & 1023, -24);
    return half & 0x8000 ? -value : value;
}

static void prepare_arrays(job *job) {
    uint32_t grid = ROWS;
    switch (job->kernel) {
    case VECTOR_ADD:
        fill_floats(add_array(job, ADDED * sizeof(float)), ADDED);
        fill_floats(add_array(job, ADDED * sizeof(float)), ADDED);
        add_array(job, ADDED * sizeof(float));
        add_word(job, ADDED);
        grid = (ADDED + 1023) / 1024;
        break;
    case SOFTMAX:
        fill_floats(add_array(job, (size_t)ROWS * COLUMNS * sizeof(float)), (size_t)ROWS * COLUMNS);
        add_array(job, (size_t)ROWS * COLUMNS * sizeof(float));
        for (int i = 0; i < 3; i++) add_word(job, COLUMNS);
        break;
    case LAYER_NORM:
        fill_halves(add_array(job, (size_t)ROWS * COLUMNS * 2), NULL, (size_t)ROWS * COLUMNS);
        fill_floats(add_array(job, COLUMNS * sizeof(float)), COLUMNS);
        fill_floats(add_array(job, COLUMNS * sizeof(float)), COLUMNS);
        add_array(job, (size_t)ROWS * COLUMNS * 2);
        for (int i = 0; i < 2; i++) add_array(job, ROWS * sizeof(float));
        for (int i = 0; i < 2; i++) add_word(job, COLUMNS);
        add_word(job, 0x3727c5ac); /* 1e-5f */
        break;
    default:
        for (int i = 0; i < 2; i++) {
            float **same = i ? &job->b : &job->a;
            *same = malloc(sizeof(float) * SIZE * SIZE);
            if (!*same) bench_fail("out of memory");
            fill_halves(add_array(job, 2 * SIZE * SIZE), *same, SIZE * SIZE);
        }
        job->c = malloc(sizeof(float) * SIZE * SIZE);
        if (!job->c) bench_fail("out of memory");
        add_array(job, 2 * SIZE * SIZE);
        for (int i = 0; i < 6; i++) add_word(job, SIZE);
        grid = (SIZE / TILE) * (SIZE / TILE);
    }
    job->launch.grid[0] = grid;
}

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "re");
    char *text = malloc(1 << 20);
    if (!file || !text) bench_fail("%s: cannot be read", path);
    *size = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static void make(job *job, int kernel) {
    static const uint32_t shared[] = {0, 16, 16, 16384};
    char path[4096], log[1024] = "", unknown[64];
    size_t size;
    *job = (struct job){.kernel = kernel, .memory = trcpu_memory_create(1ull << 32)};
    snprintf(path, sizeof path, "%s/specialised/%s.ptx", BENCH_DIR, names[kernel]);
    char *ptx = read_file(path, &size);
    uint32_t all_checks = trcpu_checks_parse("all", unknown, sizeof unknown);
    if (!job->memory || !trcpu_memory_watch(job->memory, all_checks) ||
        trcpu_module_load(job->memory, ptx, size, 89, log, sizeof log, &job->module))
        bench_fail("%s: %s", path, log);
    free(ptx);
    prepare_arrays(job);
    job->launch.function = trcpu_module_function(job->module, names[kernel]);
    for (int d = 0; d < 3; d++) job->launch.block[d] = 1, job->launch.grid[d] += d > 0;
    job->launch.block[0] = 128;
    job->launch.dynamic_shared = shared[kernel];
    job->launch.parameters = job->parameters; /* the scratch behind it is none: zero */
    job->checks = trcpu_checks_parse("default", unknown, sizeof unknown);
    job->all_checks = all_checks;
}

static void end(job *job) {
    trcpu_module_destroy(job->module);
    trcpu_memory_destroy(job->memory);
    free(job->a);
    free(job->b);
    free(job->c);
}

/* ---- is it right? ---- */
static double reference(const job *job, size_t row, size_t column) {
    double sum = 0, mean = 0;
    const float *x = job->array[0];
    const uint16_t *half = job->array[0];
    switch (job->kernel) {
    case VECTOR_ADD: return x[column] + ((const float *)job->array[1])[column];
    case SOFTMAX:
        for (size_t k = 0; k < COLUMNS; k++) sum += exp(x[row * COLUMNS + k]);
        return exp(x[row * COLUMNS + column]) / sum;
    case LAYER_NORM:
        for (size_t k = 0; k < COLUMNS; k++) mean += from_half(half[row * COLUMNS + k]) / COLUMNS;
        for (size_t k = 0; k < COLUMNS; k++) sum += pow(from_half(half[row * COLUMNS + k]) - mean, 2);
        return (from_half(half[row * COLUMNS + column]) - mean) / sqrt(sum / COLUMNS + 1e-5) *
                   ((const float *)job->array[1])[column] +
               ((const float *)job->array[2])[column];
    default:
        for (size_t k = 0; k < SIZE; k++) sum += (double)job->a[row * SIZE + k] * job->b[k * SIZE + column];
        return sum;
    }
}

static void check(const job *job, const char *way) {
    static const struct {
        size_t rows, columns;
        double relative, absolute;
    } shapes[] = {
        {1, ADDED, 0, 0}, {ROWS, COLUMNS, 1e-5, 0}, {ROWS, COLUMNS, 1e-3, 2e-3}, {SIZE, SIZE, 1e-3, 2e-2}};
    size_t rows = shapes[job->kernel].rows, columns = shapes[job->kernel].columns;
    bool halves = job->kernel == LAYER_NORM || job->kernel == MATMUL;
    const void *out = job->array[job->kernel == SOFTMAX ? 1 : job->kernel == LAYER_NORM ? 3 : 2];
    for (size_t i = 0; i < 997; i++) {
        size_t at = i * 7919 * 31 % (rows * columns);
        double got = halves ? from_half(((const uint16_t *)out)[at]) : ((const float *)out)[at];
        double wanted = reference(job, at / columns, at % columns);
        if (job->kernel == VECTOR_ADD) wanted = (float)wanted;
        if (!(fabs(got - wanted) <=
              shapes[job->kernel].absolute + shapes[job->kernel].relative * fabs(wanted)))
            bench_fail("%s, %s: element %zu is %.9g, not %.9g", names[job->kernel], way, at, got, wanted);
    }
}

/* ---- the ways ---- */
static bool of_cpu;

static double now(void) {
    struct timespec time;
    clock_gettime(of_cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void execute(job *job, const char *threads, uint32_t checks, trcpu_counts *counters) {
    static trcpu_fault fault;
    setenv("TRITON_RUNNER_CPU_THREADS", threads, 1);
    if (trcpu_execute(job->memory, &job->launch, checks, counters, &fault))
        bench_fail("%s: %s", names[job->kernel], fault.message);
}

__attribute__((noinline)) static void c_loop(const float *restrict x, const float *restrict y,
                                             float *restrict out, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = x[i] + y[i];
}

static bool run_peer(job *job) {
    enum { ROW_MAJOR = 101, PLAIN = 111 };
    if (job->kernel == VECTOR_ADD)
        c_loop(job->array[0], job->array[1], job->array[2], ADDED);
    else if (job->kernel == MATMUL && job->sgemm)
        job->sgemm(ROW_MAJOR, PLAIN, PLAIN, SIZE, SIZE, SIZE, 1, job->a, SIZE, job->b, SIZE, 0, job->c, SIZE);
    else
        return false;
    return true;
}

static double burst(void *user, int way) {
    job *job = user;
    bool there = true;
    double begin = now();
    if (way == PEER)
        there = run_peer(job);
    else if (way == INTERPRETED || (way == TWO_THREADS && of_cpu))
        return 0; /* measured apart, or not at all */
    else
        execute(job, way == TWO_THREADS ? "2" : "1", way == ALL_CHECKS ? job->all_checks : job->checks, NULL);
    return there ? now() - begin : 0;
}

static void open_blas(job *job) {
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        printf("SKIPPED: the matmul's peer: %s\n", dlerror());
        return;
    }
    void (*set_threads)(int);
    void *found = dlsym(library, "openblas_set_num_threads");
    memcpy(&set_threads, &found, sizeof found);
    if (set_threads) set_threads(1);
    found = dlsym(library, "cblas_sgemm");
    memcpy(&job->sgemm, &found, sizeof found);
}

static double count_instructions(job *job) {
    trcpu_counts *counters = trcpu_counts_create(job->launch.function);
    if (!counters) bench_fail("out of memory");
    execute(job, "1", job->checks, counters);
    char *json = trcpu_counts_json(counters, &job->launch);
    const char *at = json ? strstr(json, "\"warp_instructions\": ") : NULL;
    if (!at) bench_fail("%s: the counters don't tell", names[job->kernel]);
    double count = strtod(at + strlen("\"warp_instructions\": "), NULL);
    free(json);
    trcpu_counts_destroy(counters);
    return count;
}

/* Triton's interpreter mode, in a Python of its own: a line "name milliseconds" for each kernel. */
static void interpret(const bench *bench, chart *chart) {
    char interpreter[2048], packages[2048], command[8192], name[64];
    double took;
    companion_python(bench, interpreter, packages, sizeof interpreter);
    snprintf(command, sizeof command,
             "TRITON_INTERPRET=1 PYTHONPATH='%s' '%s' '%s/interpreted.py' '%s' %d %d %d %d", packages,
             interpreter, BENCH_DIR, KERNELS, ADDED, ROWS, COLUMNS, SIZE);
    FILE *lines = strcmp(bench->python, "none") ? popen(command, "re") : NULL;
    int told = 0;
    while (lines && fscanf(lines, "%63s %lf", name, &took) == 2) {
        for (int i = 0; i < KERNELS_COUNT; i++)
            if (!strcmp(name, names[i])) chart->value[i][INTERPRETED] = took, told++;
    }
    if (lines) pclose(lines);
    if (!told) printf("SKIPPED: Triton's interpreter mode: %s has no torch and Triton\n", interpreter);
}

static void name_cpu(bench *bench) {
    char line[256] = "", model[128] = "unknown CPU", day[16];
    time_t now = time(NULL);
    FILE *info = fopen("/proc/cpuinfo", "re");
    while (info && fgets(line, sizeof line, info))
        if (sscanf(line, "model name : %127[^\n]", model) == 1) break;
    if (info) fclose(info);
    strftime(day, sizeof day, "%Y-%m-%d", gmtime(&now));
    snprintf(bench->machine, sizeof bench->machine, "%s, %s, %s", model, trcpu_variant_best()->name, day);
}

static void judge(bench *bench, const chart *chart, const double *instructions) {
    static const double peers[KERNELS_COUNT] = {[VECTOR_ADD] = 4, [MATMUL] = 8};
    for (int i = 0; i < KERNELS_COUNT; i++) {
        const double *value = chart->value[i], *ratio = chart->ratio[i];
        char what[128];
        if (value[DEVICE] <= 0) continue;
        double rate = instructions[i] / value[DEVICE] / 1e3;
        printf("%-10s %.0f warp instructions, %.1f million a second\n", names[i], instructions[i], rate);
        if (value[PEER] > 0) {
            snprintf(what, sizeof what, "%s beside its peer", names[i]);
            bench_bound(bench, what, 1 / ratio[PEER], AT_MOST, peers[i]);
            snprintf(what, sizeof what, "%s, million warp instructions a second", names[i]);
            bench_bound(bench, what, rate, AT_LEAST, 60);
        }
        snprintf(what, sizeof what, "%s, two threads beside one", names[i]);
        if (!of_cpu) bench_bound(bench, what, 1 / ratio[TWO_THREADS], AT_LEAST, 1.8);
        snprintf(what, sizeof what, "%s, all checks beside the default", names[i]);
        bench_bound(bench, what, ratio[ALL_CHECKS], AT_MOST, 3);
        if (value[INTERPRETED] <= 0) continue;
        snprintf(what, sizeof what, "%s, Triton's interpreter beside the device", names[i]);
        bench_bound(bench, what, value[INTERPRETED] / value[DEVICE], AT_LEAST, i == VECTOR_ADD ? 100 : 1);
    }
}

int main(int argc, char **argv) {
    bench bench = {0};
    double instructions[KERNELS_COUNT];
    const char *only = bench_option(argc, argv, "--kernel");
    of_cpu = !strcmp(bench_option(argc, argv, "--clock"), "cpu");
    bench_parse(&bench, argc, argv);
    bench.cpu = false; /* the bounds of this one are about the CPU */
    name_cpu(&bench);
    chart chart = {.title = "The CPU device",
                   .unit = of_cpu ? "ms of CPU time" : "ms",
                   .row_name = "kernel",
                   .machine = bench.machine,
                   .rows = KERNELS_COUNT,
                   .columns = WAYS,
                   .digits = 2,
                   .column = {"device", "two threads", "all checks", "peer", "interpreted"}};
    for (int i = 0; i < KERNELS_COUNT; i++) {
        job job;
        chart.row[i] = names[i];
        if (*only && strcmp(only, names[i])) continue;
        make(&job, i);
        if (i == MATMUL) open_blas(&job);
        instructions[i] = count_instructions(&job);
        check(&job, "one thread");
        execute(&job, "2", job.all_checks, NULL);
        check(&job, "two threads, all checks");
        bench_measure(&bench, &chart, i, ROUNDS, burst, &job);
        end(&job);
    }
    interpret(&bench, &chart);
    bench.cpu = bench.rounds && bench.rounds < ROUNDS_FOR_BOUNDS;
    judge(&bench, &chart, instructions);
    return bench_finish(&bench, &chart, 1);
}
