/* graph [--device D] [--rounds N] [--json FILE] [--svg FILE]: a graph captured from tr_launch beside one captured from
   cuLaunchKernelEx: 1000 kernels of 0, 19 and 58 arguments. Per kernel, in turns: the CPU's time of the replay, and the
   time until all have run. The third graph is of cuLaunchKernelEx too, and holds a user object as that of tr_launch does,
   by which the kernel stays loaded as long as the graph lives. */
#include "counting.h"

#include <stdio.h>

enum { NODES = 1000, NODES_CPU = 50, ROUNDS = 100 };
enum { RAW, CAPTURED, HOLDING, WAYS };

typedef struct job {
    counting counting;
    CUgraphExec exec[WAYS];
    int kernels;
    bool until_done;
} job;

static void nothing(void *user) {
}

static void hold(CUgraph graph) {
    CUuserObject object;
    if (!cu.cuUserObjectCreate || !cu.cuGraphRetainUserObject) return;
    CU(cuUserObjectCreate(&object, NULL, nothing, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CU(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
}

static void capture(job *job, int way) {
    CUgraph graph;
    CUstream stream = job->counting.bench->stream;
    CU(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    for (int i = 0; i < job->kernels; i++) {
        if (way == CAPTURED)
            counting_launch(&job->counting);
        else
            counting_launch_raw(&job->counting);
    }
    CU(cuStreamEndCapture(stream, &graph));
    if (way == HOLDING) hold(graph);
    CU(cuGraphInstantiateWithFlags(&job->exec[way], graph, 0));
    CU(cuGraphDestroy(graph));
}

static double replay(void *user, int way) {
    job *job = user;
    CUstream stream = job->counting.bench->stream;
    double begin = bench_now();
    CU(cuGraphLaunch(job->exec[way], stream));
    double given = bench_now() - begin;
    CU(cuStreamSynchronize(stream));
    double done = bench_now() - begin;
    job->counting.launches += (unsigned)job->kernels;
    return (job->until_done ? done : given) / job->kernels;
}

static void measure(const bench *bench, chart charts[2], int row, size_t count) {
    static job job;
    job.kernels = bench->cpu ? NODES_CPU : NODES;
    counting_make(&job.counting, bench, count);
    for (int way = 0; way < WAYS; way++) capture(&job, way);
    for (int i = 0; i < 2; i++) {
        job.until_done = i == 1;
        bench_measure(bench, &charts[i], row, ROUNDS, replay, &job);
    }
    for (int way = 0; way < WAYS; way++) CU(cuGraphExecDestroy(job.exec[way]));
    counting_end(&job.counting);
}

int main(int argc, char **argv) {
    static const size_t counts[] = {0, 19, 58};
    bench bench = {0};
    bench_start(&bench, argc, argv);
    chart charts[2] = {{.title = "Replay of a graph, CPU time per kernel"},
                       {.title = "Replay of a graph until all has run, per kernel"}};
    for (int i = 0; i < 2; i++) {
        charts[i].unit = "ns";
        charts[i].row_name = "arguments";
        charts[i].machine = bench.machine;
        charts[i].rows = 3;
        charts[i].columns = WAYS;
        charts[i].row[0] = "0", charts[i].row[1] = "19", charts[i].row[2] = "58";
        charts[i].column[RAW] = "cuLaunchKernelEx", charts[i].column[CAPTURED] = "tr_launch";
        charts[i].column[HOLDING] = "and holding";
        charts[i].digits = 1;
    }
    for (int i = 0; i < 3; i++) measure(&bench, charts, i, counts[i]);
    for (int i = 0; i < 3; i++) {
        char what[96];
        snprintf(what, sizeof what, "replay until done, of tr_launch beside raw, %s arguments",
                 charts[1].row[i]);
        bench_bound(&bench, what, charts[1].ratio[i][CAPTURED], AT_MOST, 1.01);
    }
    return bench_finish(&bench, charts, 2);
}
