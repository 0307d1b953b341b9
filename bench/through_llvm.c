/* through_llvm [--device D] [--rounds N] [--save FOLDER] [--json FILE] [--svg FILE]: the five example kernels, whose llir
   became PTX through LLVM, beside the same llir through Triton. GPU time by events around a graph of launches, in turns;
   sampled elements are compared with float64. --save keeps both PTX and cubins, to be disassembled where the times
   differ. On the CPU device the stages that the repository keeps are used. */
#include "workload.h"

#include <stdio.h>

enum { ROUNDS = 60 };
enum { TRITON, LLVM, WAYS };
static const char *const titles[WAYS] = {"llir, Triton", "llir, LLVM"};

typedef struct job {
    workload workload;
    tr_kernel *kernel[WAYS];
    CUgraphExec exec[WAYS];
} job;

static double burst(void *user, int way) {
    job *job = user;
    return workload_replay(&job->workload, job->exec[way]) * 1e3;
}

static void save(const job *job, const tr_program *program, int way, const char *folder) {
    for (tr_stage stage = TR_STAGE_PTX; stage <= TR_STAGE_CUBIN && *folder; stage++) {
        char path[4096];
        tr_program *passed;
        snprintf(path, sizeof path, "%s/%s.%s.%s", folder, job->workload.kind.name,
                 way == LLVM ? "llvm" : "triton", stage == TR_STAGE_PTX ? "ptx" : "cubin");
        if (tr_program_at(program, stage, &passed, NULL)) continue;
        RUN(tr_program_save(passed, path, &error));
        tr_program_destroy(passed);
    }
}

/* The llir, and what Triton makes of it: from Python on a GPU, from the kept stages on the CPU device. */
static void load(const workload *w, tr_program **llir, tr_program **base) {
    char folder[4096];
    tr_program *python;
    snprintf(folder, sizeof folder, "%s/stages/sm_89", workload_folder());
    if (w->bench->cpu) {
        RUN(workload_load_kept(w, folder, TR_STAGE_LLIR, llir, &error));
        RUN(workload_load_kept(w, folder, TR_STAGE_PTX, base, &error));
        return;
    }
    RUN(workload_load_python(w, &python, &error));
    RUN(workload_compile(w, python, TR_STAGE_CUBIN, NULL, base, &error));
    RUN(tr_program_at(*base, TR_STAGE_LLIR, llir, &error));
    tr_program_destroy(python);
}

static bool make_kernels(job *job, const char *folder) {
    tr_program *llir, *programs[WAYS] = {0};
    tr_stage last = job->workload.bench->cpu ? TR_STAGE_PTX : TR_STAGE_CUBIN;
    tr_error *error = NULL;
    load(&job->workload, &llir, &programs[TRITON]);
    tr_status status = workload_compile(&job->workload, llir, last, "llvm", &programs[LLVM], &error);
    bool there = status != TR_E_COMPILER_MISSING;
    if (there)
        bench_check(status, error);
    else
        printf("SKIPPED: %s\n", tr_error_message(error));
    for (int way = 0; way < WAYS && there; way++) {
        RUN(tr_kernel_create(programs[way], &job->kernel[way], &error));
        save(job, programs[way], way, folder);
    }
    for (int way = 0; way < WAYS; way++) tr_program_destroy(programs[way]);
    tr_program_destroy(llir);
    tr_error_destroy(error);
    return there;
}

static bool measure(bench *bench, chart *chart, int row, const char *folder) {
    job job = {0};
    workload_make(&job.workload, bench, workload_names[row], NULL);
    bool there = make_kernels(&job, folder);
    for (int way = 0; way < WAYS && there; way++)
        job.exec[way] = workload_capture(&job.workload, job.kernel[way], titles[way]);
    if (there) bench_measure(bench, chart, row, ROUNDS, burst, &job);
    for (int way = 0; way < WAYS && there; way++) {
        workload_check(&job.workload, job.exec[way], titles[way]);
        CU(cuGraphExecDestroy(job.exec[way]));
        tr_kernel_destroy(job.kernel[way]);
    }
    workload_free(&job.workload);
    return there;
}

int main(int argc, char **argv) {
    bench bench = {0};
    const char *folder = bench_option(argc, argv, "--save");
    bench_start(&bench, argc, argv);
    chart chart = {.title = "Kernels whose llir became PTX through LLVM",
                   .unit = "us",
                   .row_name = "kernel",
                   .machine = bench.machine,
                   .rows = 5,
                   .columns = WAYS,
                   .digits = 2};
    for (int way = 0; way < WAYS; way++) chart.column[way] = titles[way];
    for (int row = 0; row < chart.rows; row++) {
        chart.row[row] = workload_names[row];
        if (!measure(&bench, &chart, row, folder)) return 77;
    }
    for (int row = 0; row < chart.rows; row++) {
        char what[96];
        snprintf(what, sizeof what, "%s through LLVM beside Triton", chart.row[row]);
        bench_bound(&bench, what, chart.ratio[row][LLVM], AT_MOST, 1.02);
    }
    return bench_finish(&bench, &chart, 1);
}
