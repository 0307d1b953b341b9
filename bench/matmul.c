/* matmul [--device D] [--python INTERPRETER] [--stages FOLDER] [--rounds N] [--json FILE] [--svg FILE]: how fast a matrix
   product runs that was started from each stage, fp16 with fp32 sums, beside Triton's own launch of the same kernel and
   cuBLAS.

   The examples' matmul and matmul_tma are compiled from Python once, every stage is saved, and each is loaded from its
   file and compiled the rest of the way. --stages FOLDER: kept stages are started from instead. The time is the GPU's, by
   events around a graph of launches, all ways in turns; sampled elements of each way's result are compared with float64.
   Triton's launch and cuBLAS (torch.matmul) run in a Python process beside this one. */
#include "companion.h"
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 18, ROUNDS_WHEN_SHORT = 50 };
enum { TRITON, PYTHON, TTIR, TTGIR, LLIR_LLVM, LLIR_TRITON, PTX, CUBIN, CUBLAS, WAYS };
static const struct {
    const char *title;
    tr_stage stage;
    const char *llvm;
} ways[WAYS] = {
    [TRITON] = {"Triton's launch", TR_STAGE_AUTO, NULL},
    [PYTHON] = {"python", TR_STAGE_PYTHON, NULL},
    [TTIR] = {"ttir", TR_STAGE_TTIR, NULL},
    [TTGIR] = {"ttgir", TR_STAGE_TTGIR, NULL},
    [LLIR_LLVM] = {"llir, LLVM", TR_STAGE_LLIR, "llvm"},
    [LLIR_TRITON] = {"llir, Triton", TR_STAGE_LLIR, "triton"},
    [PTX] = {"ptx", TR_STAGE_PTX, NULL},
    [CUBIN] = {"cubin", TR_STAGE_CUBIN, NULL},
    [CUBLAS] = {"cuBLAS", TR_STAGE_AUTO, NULL},
};
static const int64_t sizes[][3] = {
    {8192, 4096, 4096}, {1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 4096, 4096}, {8192, 8192, 8192}};
enum { SIZES = sizeof sizes / sizeof *sizes };

typedef struct job {
    workload workload;
    companion *companion;
    tr_kernel *kernel[WAYS];
    CUgraphExec exec[WAYS];
} job;

/* ---- from each stage to a kernel ---- */

static char folder[] = "/tmp/tr-bench-XXXXXX";

static tr_status save_stages(const workload *w, tr_error **error) {
    tr_program *python = NULL, *cubin = NULL;
    tr_status status = workload_load_python(w, &python, error);
    if (!status) status = workload_compile(w, python, TR_STAGE_CUBIN, NULL, &cubin, error);
    for (tr_stage stage = TR_STAGE_TTIR; stage <= TR_STAGE_CUBIN && !status; stage++) {
        static const char *const suffixes[] = {"", "", "ttir", "ttgir", "llir", "ptx", "cubin"};
        char path[4096];
        tr_program *passed = NULL;
        snprintf(path, sizeof path, "%s/%s.%s", folder, w->kind.name, suffixes[stage]);
        status = tr_program_at(cubin, stage, &passed, error);
        if (!status) status = tr_program_save(passed, path, error);
        tr_program_destroy(passed);
    }
    tr_program_destroy(cubin);
    tr_program_destroy(python);
    return status;
}

static tr_status start(const workload *w, int way, const char *from, tr_program **out, tr_error **error) {
    tr_program *program = NULL;
    tr_stage last = w->bench->cpu ? TR_STAGE_PTX : TR_STAGE_CUBIN;
    tr_status status = way == PYTHON ? workload_load_python(w, &program, error)
                                     : workload_load_kept(w, from, ways[way].stage, &program, error);
    if (!status) status = workload_compile(w, program, last, ways[way].llvm, out, error);
    tr_program_destroy(program);
    return status;
}

/* Which starts end in the very bytes that Python does. */
static void compare_bytes(const workload *w, tr_program *const programs[WAYS]) {
    const void *data[2];
    size_t size[2];
    printf("%s: from the same bytes as python:", w->kind.name);
    for (int way = TTIR; way <= CUBIN && programs[PYTHON]; way++) {
        if (!programs[way]) continue;
        tr_program_bytes(programs[PYTHON], &data[0], &size[0]);
        tr_program_bytes(programs[way], &data[1], &size[1]);
        bool same = size[0] == size[1] && !memcmp(data[0], data[1], size[0]);
        printf(" %s%s", same ? "" : "NOT ", ways[way].title);
    }
    printf("\n");
}

static void make_kernels(job *job, const char *from) {
    workload *w = &job->workload;
    tr_program *programs[WAYS] = {0};
    tr_error *error = NULL;
    int made = 0;
    for (int way = PYTHON; way <= CUBIN; way++) {
        if (w->bench->cpu && way == CUBIN) continue;
        tr_status status = start(w, way, from, &programs[way], &error);
        if (status == TR_E_COMPILER_MISSING)
            printf("not here: %s from %s: %s\n", w->kind.name, ways[way].title, tr_error_message(error));
        else
            bench_check(status, error);
        tr_error_destroy(error);
        error = NULL;
        if (status) continue;
        RUN(tr_kernel_create(programs[way], &job->kernel[way], &error));
        made++;
    }
    if (!made) bench_fail("%s: no start is possible here", w->kind.name);
    if (!w->bench->cpu) compare_bytes(w, programs);
    for (int way = 0; way < WAYS; way++) tr_program_destroy(programs[way]);
}

/* ---- measuring ---- */

/* "…, 128, 256, 64, 8": the numbers at the signature's end, as "128,256,64,8". */
static const char *constants_of(const workload *w, char *text) {
    const char *at = w->kind.signature;
    *text = 0;
    for (const char *word = at; word; word = strchr(word, ','), word = word ? word + 1 : NULL)
        if (word[strspn(word, " ")] >= '0' && word[strspn(word, " ")] <= '9')
            sprintf(text + strlen(text), "%s%d", *text ? "," : "", atoi(word));
    return text;
}

static double burst(void *user, int way) {
    job *job = user;
    const workload *w = &job->workload;
    char constants[128];
    const int64_t *size = w->size;
    double milliseconds = 0;
    if (way == TRITON || way == CUBLAS)
        milliseconds = companion_ask(job->companion, "product %s %s %d %d %d %d %s %s %s/%s.py",
                                     way == TRITON ? "triton" : "cublas", w->kind.name, (int)size[0],
                                     (int)size[1], (int)size[2], w->launches, constants_of(w, constants),
                                     w->kind.options, workload_folder(), w->kind.name);
    else if (job->exec[way])
        milliseconds = workload_replay(w, job->exec[way]);
    double work = 2e-9 * (double)size[0] * (double)size[1] * (double)size[2];
    return milliseconds > 0 ? work / milliseconds : 0;
}

static void measure(job *job, chart *chart, const int64_t *size) {
    const bench *bench = job->workload.bench;
    const char *name = job->workload.kind.name;
    workload_free(&job->workload);
    workload_make(&job->workload, bench, name, size);
    char *title;
    if (asprintf(&title, "%s %dx%dx%d", name, (int)job->workload.size[0], (int)job->workload.size[1],
                 (int)job->workload.size[2]) < 0)
        bench_fail("out of memory");
    chart->row[chart->rows] = title;
    for (int way = 0; way < WAYS; way++)
        job->exec[way] =
            job->kernel[way] ? workload_capture(&job->workload, job->kernel[way], ways[way].title) : NULL;
    int rounds = job->workload.size[0] <= 1024 ? ROUNDS_WHEN_SHORT : ROUNDS;
    bench_measure(bench, chart, chart->rows, rounds, burst, job);
    for (int way = 0; way < WAYS; way++) {
        if (!job->exec[way]) continue;
        workload_check(&job->workload, job->exec[way], ways[way].title);
        CU(cuGraphExecDestroy(job->exec[way]));
    }
    chart->rows++;
}

static void judge(bench *bench, const chart *chart) {
    for (int i = 0; i < chart->rows; i++) {
        if (chart->value[i][TRITON] <= 0) continue;
        for (int way = PYTHON; way <= CUBIN; way++) {
            char what[128];
            snprintf(what, sizeof what, "%s, %s beside Triton's launch", chart->row[i], ways[way].title);
            if (chart->value[i][way] > 0)
                bench_bound(bench, what, chart->ratio[i][way], AT_LEAST, way == LLIR_LLVM ? 0.98 : 0.99);
        }
    }
}

int main(int argc, char **argv) {
    static job job;
    bench bench = {0};
    companion companion;
    char versions[512], kept[4096];
    const char *stages = bench_option(argc, argv, "--stages");
    bench_start(&bench, argc, argv);
    companion_start(&companion, &bench);
    companion_versions(&companion, versions, sizeof versions);
    if (!mkdtemp(folder)) bench_fail("%s cannot be made", folder);
    snprintf(kept, sizeof kept, "%s/stages/sm_89", workload_folder());
    if (bench.cpu && !*stages) stages = kept;
    chart chart = {.title = "Products of matrices, fp16",
                   .unit = "TFLOP/s",
                   .row_name = "kernel, m x n x k",
                   .machine = bench.machine,
                   .columns = WAYS,
                   .digits = bench.cpu ? 5 : 1};
    for (int way = 0; way < WAYS; way++) chart.column[way] = ways[way].title;
    for (int number = 3; number < 5; number++) {
        job = (struct job){.companion = &companion};
        workload_make(&job.workload, &bench, workload_names[number], NULL);
        if (!*stages) RUN(save_stages(&job.workload, &error));
        make_kernels(&job, *stages ? stages : folder);
        for (int i = 0; i < (bench.cpu ? 1 : SIZES); i++) measure(&job, &chart, bench.cpu ? NULL : sizes[i]);
        workload_free(&job.workload);
        for (int way = 0; way < WAYS; way++) tr_kernel_destroy(job.kernel[way]);
    }
    companion_end(&companion);
    char command[4200];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command)) perror(command);
    if (*versions) printf("%s\n", versions);
    judge(&bench, &chart);
    return bench_finish(&bench, &chart, 1);
}
