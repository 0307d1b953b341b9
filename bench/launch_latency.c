/* launch_latency [--device D] [--python INTERPRETER] [--rounds N] [--json FILE] [--svg FILE]: CPU time of a launch.

   Kernels of 0, 19 and 58 arguments (the first of them counts the launches that arrive), on the default stream and on one
   that was created (where a launch also has to ask whether it is captured), in bursts shorter than the driver's queue, in
   turns: the first four ways many times, then, on the default stream, all of them.
     cuLaunchKernelEx    with the packed buffer, and the attributes that tr_launch passes
     with questions      the same behind cuCtxGetId and, on a created stream, cuStreamIsCapturing: the least that a launch
                         can take which notices another context and a capture
     tr_launch, tr_launch_packed
     Triton run          CompiledKernel.run, what is left of Triton's launch when the kernel is looked up
     Triton [grid]()     kernel[grid](…)
     CuPy, cuda.core     RawKernel and launch(), with the cubin that tr_launch launches
   The last four run in a Python process beside this one, where they are installed. */
#include "companion.h"
#include "counting.h"

#include <stdio.h>
#include <string.h>

enum { BURST = 200, BURST_CPU = 20, ROUNDS = 800, ROUNDS_OF_ALL = 30 };
enum { COUNTS = 3, ROWS = 2 * COUNTS }; /* the second half on a stream of its own */
enum { RAW, ASKING, LAUNCH, PACKED, TRITON_RUN, TRITON_GRID, CUPY, CUDA_CORE, WAYS };
static const char *const peers[WAYS] = {
    [TRITON_RUN] = "triton-run", [TRITON_GRID] = "triton-grid", [CUPY] = "cupy", [CUDA_CORE] = "cuda-core"};

typedef struct job {
    counting counting;
    companion *companion;
    int burst;
} job;

static double burst(void *user, int way) {
    job *job = user;
    if (way > PACKED)
        return companion_ask(job->companion, "launch %s %zu %d %s", peers[way], job->counting.count,
                             job->burst, job->counting.image);
    double begin = bench_now();
    for (int i = 0; i < job->burst && way == RAW; i++) counting_launch_raw(&job->counting);
    for (int i = 0; i < job->burst && way == ASKING; i++) counting_launch_asking(&job->counting);
    for (int i = 0; i < job->burst && way == LAUNCH; i++) counting_launch(&job->counting);
    for (int i = 0; i < job->burst && way == PACKED; i++) counting_launch_packed(&job->counting);
    double taken = bench_now() - begin;
    CU(cuStreamSynchronize(job->counting.config.stream));
    job->counting.launches += (unsigned)job->burst;
    return taken / job->burst;
}

/* Bursts of other processes lie between those of all ways, so what is close is measured by itself. */
static void measure(const bench *bench, chart *chart, int row, job *job) {
    static struct chart all;
    all = *chart;
    chart->columns = PACKED + 1;
    bench_measure(bench, chart, row, ROUNDS, burst, job);
    chart->columns = WAYS;
    if (row >= COUNTS) return;
    bench_measure(bench, &all, row, ROUNDS_OF_ALL, burst, job);
    for (int way = PACKED + 1; way < WAYS; way++) {
        chart->value[row][way] = all.value[row][way];
        chart->ratio[row][way] = all.ratio[row][way];
    }
}

static void judge(bench *bench, const chart *chart) {
    static const double bounds[] = {1.02, 1.02, 1.04};
    for (int i = 0; i < chart->rows; i++) {
        char what[96];
        snprintf(what, sizeof what, "tr_launch beside cuLaunchKernelEx, %s", chart->row[i]);
        bench_bound(bench, what, chart->ratio[i][LAUNCH], AT_MOST, bounds[i % COUNTS]);
        printf("         (the questions alone: %.3f; tr_launch beside both: %.3f)\n", chart->ratio[i][ASKING],
               chart->ratio[i][LAUNCH] / chart->ratio[i][ASKING]);
        if (chart->value[i][TRITON_GRID] <= 0) continue;
        snprintf(what, sizeof what, "Triton's kernel[grid]() beside tr_launch, %s", chart->row[i]);
        bench_bound(bench, what, chart->value[i][TRITON_GRID] / chart->value[i][LAUNCH], AT_LEAST, 4);
        printf("         (beside cuLaunchKernelEx: %.3f)\n", chart->ratio[i][TRITON_GRID]);
    }
}

int main(int argc, char **argv) {
    static const size_t counts[COUNTS] = {0, 19, 58};
    static job job;
    bench bench = {0};
    companion companion;
    char versions[512];
    bench_start(&bench, argc, argv);
    companion_start(&companion, &bench);
    companion_versions(&companion, versions, sizeof versions);
    chart chart = {
        .title = "CPU time of a launch",
        .unit = "ns",
        .row_name = "arguments, stream",
        .machine = bench.machine,
        .rows = ROWS,
        .columns = WAYS,
        .row = {"0, default", "19, default", "58, default", "0, created", "19, created", "58, created"},
        .column = {"cuLaunchKernelEx", "with questions", "tr_launch", "tr_launch_packed", "Triton run",
                   "Triton [grid]()", "CuPy", "cuda.core"}};
    for (int i = 0; i < chart.rows; i++) {
        job.companion = &companion;
        job.burst = bench.cpu ? BURST_CPU : BURST;
        counting_make(&job.counting, &bench, counts[i % COUNTS]);
        if (i < COUNTS) job.counting.config.stream = NULL;
        measure(&bench, &chart, i, &job);
        counting_end(&job.counting);
    }
    companion_end(&companion);
    if (*versions) printf("%s\n", versions);
    judge(&bench, &chart);
    return bench_finish(&bench, &chart, 1);
}
