/* cache [--rounds N] [--json FILE] [--svg FILE]: ttir → cubin, compiled, found on disk, found in memory; no GPU is needed.

   A round is a runner of its own that has found its tools (one entry was read before); it then reads VARIANTS entries
   from disk and asks for each again. What is found is compared with what was compiled. Needs a Triton: exit status 77
   without one. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 15, VARIANTS = 8, SIZES = 3 };
enum { COMPILED, DISK, MEMORY, WAYS };
static const double most_us[WAYS] = {0, 300, 3};

static const struct kernel {
    const char *name, *file, *signature, *options;
} kernels[SIZES] = {
    {"vector_add", "vector_add.py", "*fp32:16, *fp32:16, *fp32:16, i32:16, 1024", NULL},
    {"matmul", "matmul.py",
     "*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, i32:16, i32:16, i32:16, 64, 64, 32, 8", NULL},
    {"matmul", "matmul.py",
     "*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, i32:16, i32:16, i32:16, 128, 256, 64, 8",
     "{\"num_warps\": 8}"},
};

typedef struct job {
    char folder[64];
    tr_program *ttir; /* of a runner that keeps nothing */
    const struct kernel *kernel;
    size_t size;
    void *bytes[VARIANTS];
} job;

static tr_runner *make_runner(const char *folder) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *runner;
    options.cache_dir = folder;
    RUN(tr_runner_create(&options, &runner, &error));
    return runner;
}

static double compile(const job *job, tr_program *ttir, tr_program **cubin) {
    tr_compile_options how = TR_COMPILE_OPTIONS_INIT;
    how.arch = "sm_90", how.options = job->kernel->options;
    double begun = bench_now();
    RUN(tr_compile_to(ttir, TR_STAGE_CUBIN, &how, cubin, &error));
    return (bench_now() - begun) * 1e-3;
}

/* The same kernel under another key: a comment tells them apart. */
static tr_program *load(const job *job, tr_runner *runner, int variant) {
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program;
    const void *data;
    size_t size;
    tr_program_bytes(job->ttir, &data, &size);
    char *text = malloc(size + 32);
    if (!text) bench_fail("no memory");
    memcpy(text, data, size);
    options.metadata = tr_program_metadata(job->ttir);
    options.data = text;
    options.size = size + (size_t)sprintf(text + size, "\n// variant %d\n", variant);
    RUN(tr_load_stage(runner, TR_STAGE_TTIR, NULL, &options, &program, &error));
    free(text);
    return program;
}

static double find(const job *job, tr_program *ttir, int variant) {
    const void *data;
    size_t size;
    tr_program *cubin;
    double took = compile(job, ttir, &cubin);
    tr_program_bytes(cubin, &data, &size);
    if (size != job->size || memcmp(data, job->bytes[variant], size)) bench_fail("a hit has other bytes");
    tr_program_destroy(cubin);
    return took;
}

/* Of several in a row; what they give was compared before. */
static double find_again(const job *job, tr_program *ttir) {
    enum { TIMES = 20 };
    double took = 0;
    for (int i = 0; i < TIMES; i++) {
        tr_program *cubin;
        took += compile(job, ttir, &cubin);
        tr_program_destroy(cubin);
    }
    return took / TIMES;
}

static double counted(tr_runner *runner) {
    char *json;
    RUN(tr_runner_report(runner, TR_REPORT_COUNTERS, &json, &error));
    const char *at = strstr(json, "\"compiled\": ");
    double value = at ? atof(at + 12) : -1;
    tr_free(json);
    return value;
}

/* Fills the folder; the median of the compiles. */
static double fill(job *job) {
    double times[VARIANTS];
    tr_runner *runner = make_runner(job->folder);
    for (int i = -1; i < VARIANTS; i++) { /* the first starts the compiler */
        const void *data;
        tr_program *cubin, *ttir = load(job, runner, i < 0 ? VARIANTS : i);
        double took = compile(job, ttir, &cubin);
        tr_program_bytes(cubin, &data, &job->size);
        if (i >= 0) {
            times[i] = took;
            if (!(job->bytes[i] = malloc(job->size))) bench_fail("no memory");
            memcpy(job->bytes[i], data, job->size);
        }
        tr_program_destroy(cubin);
        tr_program_destroy(ttir);
    }
    tr_runner_destroy(runner);
    return bench_median(times, VARIANTS);
}

static void measure(const bench *bench, job *job, chart *chart, int row) {
    static double times[WAYS][256];
    int rounds = bench->rounds ? bench->rounds : ROUNDS, count = 0;
    if (rounds > 256 / VARIANTS) rounds = 256 / VARIANTS;
    chart->value[row][COMPILED] = fill(job);
    for (int round = 0; round < rounds; round++) {
        tr_runner *runner = make_runner(job->folder);
        tr_program *ttir = load(job, runner, VARIANTS), *cubin;
        compile(job, ttir, &cubin); /* finds the tools */
        tr_program_destroy(cubin);
        tr_program_destroy(ttir);
        for (int i = 0; i < VARIANTS; i++) {
            ttir = load(job, runner, i);
            times[DISK][count] = find(job, ttir, i);
            times[MEMORY][count++] = find_again(job, ttir);
            tr_program_destroy(ttir);
        }
        if (counted(runner) != 0) bench_fail("something was compiled that was there");
        tr_runner_destroy(runner);
    }
    for (int way = DISK; way < WAYS; way++) chart->value[row][way] = bench_median(times[way], count);
}

static bool make_ttir(job *job) {
    char path[4096];
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_compile_options how = TR_COMPILE_OPTIONS_INIT;
    tr_program *python;
    tr_error *error;
    tr_runner *runner = make_runner("");
    options.kernel = job->kernel->name, options.signature = job->kernel->signature;
    how.arch = "sm_90";
    snprintf(path, sizeof path, "%s/%s", KERNELS, job->kernel->file);
    RUN(tr_load_stage(runner, TR_STAGE_PYTHON, path, &options, &python, &error));
    tr_status status = tr_compile_to(python, TR_STAGE_TTIR, &how, &job->ttir, &error);
    if (status == TR_E_COMPILER_MISSING) {
        printf("%s\n", tr_error_message(error));
        return false;
    }
    bench_check(status, error);
    tr_program_destroy(python);
    tr_runner_destroy(runner);
    return true;
}

static void name_machine(bench *bench) {
    char line[256], name[128] = "?";
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "model name : %127[^\n]", name) == 1) break;
    if (file) fclose(file);
    snprintf(bench->machine, sizeof bench->machine, "%s", name);
}

int main(int argc, char **argv) {
    bench bench = {0};
    static char rows[SIZES][32];
    bench_parse(&bench, argc, argv);
    name_machine(&bench);
    chart chart = {.title = "ttir to cubin",
                   .unit = "us",
                   .row_name = "cubin",
                   .machine = bench.machine,
                   .rows = SIZES,
                   .columns = WAYS,
                   .column = {"compiled", "found on disk", "found in memory"},
                   .digits = 1};
    for (int row = 0; row < SIZES; row++) {
        job job = {.folder = "/tmp/tr-bench-cache-XXXXXX", .kernel = &kernels[row]};
        char command[128];
        if (!make_ttir(&job)) return 77;
        if (!mkdtemp(job.folder)) bench_fail("no folder");
        measure(&bench, &job, &chart, row);
        snprintf(rows[row], sizeof rows[row], "%.1f KB", (double)job.size * 1e-3);
        chart.row[row] = rows[row];
        snprintf(command, sizeof command, "rm -rf '%s'", job.folder);
        if (system(command)) bench_fail("cannot remove %s", job.folder);
        for (int i = 0; i < VARIANTS; i++) free(job.bytes[i]);
        tr_program_destroy(job.ttir);
    }
    for (int way = DISK; way < WAYS; way++)
        bench_bound(&bench, chart.column[way], chart.value[SIZES - 1][way], AT_MOST, most_us[way]);
    return bench_finish(&bench, &chart, 1);
}
