/* plan [--device D] [--rounds N] [--python INTERPRETER] [--json FILE] [--svg FILE]: a step of 10, 200 and 2000 kernels of
   0, 19 and 58 arguments, of which none, a tenth, or all get other arguments and another grid before each step. Per kernel,
   in turns: the CPU's time to submit the step, and the time until all of it has run.

     cuLaunchKernelEx  with packed buffers that are ready
     tr_launch
     graph             a captured graph, replayed; where nothing changes
     SetParams         the driver's part of a plan alone: cuGraphExecKernelNodeSetParams for what changed, cuGraphLaunch
     plan              tr_plan_set for what changed, tr_plan_launch
     Triton            kernel[grid](…) of Triton in Python, where it is; the CPU's time only

   Each kernel writes a sum of its arguments and its grid, and after each step all of them are compared with the host's.
   (A kernel without arguments has nowhere to write to; how its grids arrive is tested elsewhere.) */
#include "companion.h"
#include "raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 2000, ARGUMENTS = 58, BYTES = 512, ROUNDS = 30, ROUNDS_MOST = 1000, WARM = 3 };
enum { RAW, LAUNCH, GRAPH, SET_PARAMS, PLAN, TRITON, WAYS };

typedef struct entry {
    tr_arg args[ARGUMENTS];
    uint32_t grid, sum;
    char packed[BYTES];
    void *pointers[ARGUMENTS + 2];
    CUgraphNode node;
    bool changed;
} entry;

typedef struct job {
    const bench *bench;
    companion *companion;
    tr_kernel *kernel;
    CUfunction function;
    int kernels, count, tenths; /* of them changed each step */
    size_t size;
    uint64_t sums;
    uint32_t step;
    entry entries[MOST];
    tr_plan *plan;
    CUgraph graph; /* of SET_PARAMS; its nodes are the entries' */
    CUgraphExec exec, replayed;
} job;

/* ---- the kernel ---- */

/* sum = grid + every argument's low 32 bits, to where the first points */
static void write_kernel(int count, char *ptx, char *metadata) {
    static const char *const types[] = {"*i32", "i32", "fp32"}, *const kinds[] = {".u64", ".u32", ".f32"};
    char *at = ptx, *list = metadata;
    at += sprintf(at, ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry summing(\n");
    for (int i = 0; i < count; i++) at += sprintf(at, ".param %s p%d,\n", kinds[i % 3], i);
    at += sprintf(at,
                  ".param .u64 g,\n.param .u64 s\n)\n.reqntid 128\n{\n.reg .pred %%p<2>;\n.reg .b32 %%r<4>;\n"
                  ".reg .b64 %%d<2>;\n");
    if (count) {
        at += sprintf(at, "mov.u32 %%r0, %%tid.x;\nmov.u32 %%r1, %%ctaid.x;\nor.b32 %%r0, %%r0, %%r1;\n"
                          "setp.ne.u32 %%p0, %%r0, 0;\n@%%p0 bra DONE;\nld.param.u64 %%d0, [p0];\n"
                          "mov.u32 %%r0, %%nctaid.x;\n");
        for (int i = 0; i < count; i++)
            at += sprintf(at, "ld.param.u32 %%r1, [p%d];\nadd.u32 %%r0, %%r0, %%r1;\n", i);
        at += sprintf(at, "st.global.u32 [%%d0], %%r0;\nDONE:\n");
    }
    sprintf(at, "ret;\n}\n");
    list += sprintf(
        list, "{\"name\": \"summing\", \"num_warps\": 4, \"shared\": 0, \"global_scratch_size\": 0, "
              "\"global_scratch_align\": 1, \"triton_version\": \"3.7.1\", \"triton_runner\": {\"kernel\": "
              "\"summing\", \"hidden\": [\"global_scratch\", \"profile_scratch\"], \"parameters\": [");
    for (int i = 0; i < count; i++)
        list += sprintf(list, "%s{\"type\": \"%s\"}", i ? ", " : "", types[i % 3]);
    sprintf(list, "]}}");
}

static void load_kernel(job *job) {
    char ptx[16384], metadata[8192];
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program;
    int64_t size;
    void *function;
    write_kernel(job->count, ptx, metadata);
    options.data = ptx, options.size = strlen(ptx), options.metadata = metadata;
    RUN(tr_load_stage(job->bench->runner, TR_STAGE_PTX, NULL, &options, &program, &error));
    RUN(tr_kernel_create(program, &job->kernel, &error));
    tr_program_destroy(program);
    RUN(tr_kernel_attribute(job->kernel, TR_ATTRIBUTE_PACKED_SIZE, &size, &error));
    RUN(tr_kernel_function(job->kernel, &function, &error));
    job->size = (size_t)size;
    job->function = function;
}

/* ---- a step's values ---- */

static void change(job *job, int i, uint32_t seed) {
    entry *entry = &job->entries[i];
    entry->grid = 1 + (seed + (uint32_t)i) % 4;
    entry->sum = entry->grid;
    for (int k = 0; k < job->count; k++) {
        uint32_t value = seed * 977 + (uint32_t)(i * 31 + k), bits;
        float real = (float)(value % 1000) * 0.5f;
        memcpy(&bits, &real, sizeof bits);
        uint64_t pointer = k ? 0x100000000u + 16ull * (value % 100000) : job->sums + 4 * (uint64_t)i;
        entry->args[k] = k % 3 == 0   ? tr_arg_ptr(pointer)
                         : k % 3 == 1 ? tr_arg_i32((int32_t)value)
                                      : tr_arg_f32(real);
        entry->sum += k % 3 == 0 ? (uint32_t)pointer : k % 3 == 1 ? value : bits;
    }
    RUN(tr_kernel_pack(job->kernel, entry->args, (size_t)job->count, entry->packed, BYTES, &error));
}

/* Which entries change moves on from step to step. */
static void next_step(job *job, int tenths) {
    job->step++;
    for (int i = 0; i < job->kernels; i++) {
        job->entries[i].changed = ((uint32_t)i + job->step) % 10 < (uint32_t)tenths;
        if (job->entries[i].changed) change(job, i, job->step);
    }
}

static void check_step(job *job, int way) {
    static uint32_t got[MOST];
    if (!job->count) return;
    RUN(tr_device_read(job->bench->runner, got, job->sums, 4 * (size_t)job->kernels, &error));
    for (int i = 0; i < job->kernels; i++)
        if (got[i] != job->entries[i].sum)
            bench_fail("way %d: kernel %d of %d wrote %u, not %u", way, i, job->kernels, got[i],
                       job->entries[i].sum);
    memset(got, 0, sizeof got);
    RUN(tr_device_write(job->bench->runner, job->sums, got, 4 * (size_t)job->kernels, &error));
}

/* ---- the ways ---- */

static void launch_raw(job *job) {
    for (int i = 0; i < job->kernels; i++)
        bench_need(raw_launch(cu.cuLaunchKernelEx, job->function, job->entries[i].grid, job->bench->stream,
                              job->entries[i].packed, job->size),
                   "cuLaunchKernelEx");
}

static void launch(job *job) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.stream = job->bench->stream;
    for (int i = 0; i < job->kernels; i++) {
        config.grid[0] = job->entries[i].grid;
        RUN(tr_launch(job->kernel, &config, job->entries[i].args, (size_t)job->count, &error));
    }
}

static CUDA_KERNEL_NODE_PARAMS_v2 node_params(const job *job, entry *entry) {
    return (CUDA_KERNEL_NODE_PARAMS_v2){.func = job->function,
                                        .gridDimX = entry->grid,
                                        .gridDimY = 1,
                                        .gridDimZ = 1,
                                        .blockDimX = 128,
                                        .blockDimY = 1,
                                        .blockDimZ = 1,
                                        .kernelParams = entry->pointers};
}

static void set_params(job *job) {
    for (int i = 0; i < job->kernels; i++) {
        entry *entry = &job->entries[i];
        if (!entry->changed) continue;
        CUDA_KERNEL_NODE_PARAMS_v2 params = node_params(job, entry);
        CU(cuGraphExecKernelNodeSetParams(job->exec, entry->node, &params));
    }
    CU(cuGraphLaunch(job->exec, job->bench->stream));
}

static void set_plan(job *job) {
    for (uint32_t i = 0; i < (uint32_t)job->kernels; i++) {
        const entry *entry = &job->entries[i];
        const uint32_t grid[3] = {entry->grid, 1, 1};
        if (entry->changed) RUN(tr_plan_set(job->plan, i, grid, entry->args, (size_t)job->count, &error));
    }
    RUN(tr_plan_launch(job->plan, job->bench->stream, &error));
}

/* ---- made once for a row ---- */

static void place_pointers(job *job, entry *entry) {
    size_t at = 0;
    for (int k = 0; k < job->count + 2; k++) {
        size_t width = k >= job->count || k % 3 == 0 ? 8 : 4;
        at = (at + width - 1) / width * width;
        entry->pointers[k] = entry->packed + at;
        at += width;
    }
}

static void make_graphs(job *job) {
    CUgraph graph;
    CUgraphNode before = NULL;
    CU(cuStreamBeginCapture(job->bench->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    launch_raw(job);
    CU(cuStreamEndCapture(job->bench->stream, &graph));
    CU(cuGraphInstantiateWithFlags(&job->replayed, graph, 0));
    CU(cuGraphDestroy(graph));
    CU(cuGraphCreate(&job->graph, 0));
    RUN(tr_plan_create(job->bench->runner, &job->plan, &error));
    for (int i = 0; i < job->kernels; i++) {
        entry *entry = &job->entries[i];
        tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
        CUDA_KERNEL_NODE_PARAMS_v2 params = node_params(job, entry);
        config.grid[0] = entry->grid;
        CU(cuGraphAddKernelNode(&entry->node, job->graph, &before, i > 0, &params));
        before = entry->node;
        RUN(tr_plan_add(job->plan, job->kernel, &config, entry->args, (size_t)job->count, NULL, 0, NULL,
                        &error));
    }
    CU(cuGraphInstantiateWithFlags(&job->exec, job->graph, 0));
}

static void prepare(job *job) {
    load_kernel(job);
    RUN(tr_device_alloc(job->bench->runner, 4 * MOST, &job->sums, &error));
    for (int i = 0; i < job->kernels; i++) {
        place_pointers(job, &job->entries[i]);
        change(job, i, 0);
    }
    make_graphs(job);
}

static void clear(job *job) {
    CU(cuGraphExecDestroy(job->exec));
    CU(cuGraphExecDestroy(job->replayed));
    CU(cuGraphDestroy(job->graph));
    tr_plan_destroy(job->plan);
    tr_kernel_destroy(job->kernel);
    RUN(tr_device_free(job->bench->runner, job->sums, &error));
}

/* What the other ways changed meanwhile is brought up first, outside of the measured time. */
static void catch_up(job *job, int way) {
    for (int i = 0; i < job->kernels; i++) job->entries[i].changed = true;
    if (way == SET_PARAMS) set_params(job);
    if (way == PLAN) set_plan(job);
    if (way == SET_PARAMS || way == PLAN) CU(cuStreamSynchronize(job->bench->stream));
}

static void take(job *job, int way, double *given, double *done) {
    if (way == TRITON) {
        *given = companion_ask(job->companion, "launch triton-grid %d %d -", job->count, job->kernels);
        *done = 0;
        return;
    }
    if (way == GRAPH && job->tenths) {
        *given = *done = 0;
        return;
    }
    if (job->tenths) catch_up(job, way);
    next_step(job, job->tenths);
    double begin = bench_now();
    if (way == RAW) launch_raw(job);
    if (way == LAUNCH) launch(job);
    if (way == GRAPH) CU(cuGraphLaunch(job->replayed, job->bench->stream));
    if (way == SET_PARAMS) set_params(job);
    if (way == PLAN) set_plan(job);
    *given = (bench_now() - begin) / job->kernels;
    CU(cuStreamSynchronize(job->bench->stream));
    *done = (bench_now() - begin) / job->kernels;
    check_step(job, way);
}

static void measure(job *job, chart charts[2], int row) {
    static double times[2][WAYS][ROUNDS_MOST];
    int rounds = job->bench->rounds ? job->bench->rounds : job->bench->cpu ? 2 : ROUNDS;
    if (rounds > ROUNDS_MOST) rounds = ROUNDS_MOST;
    for (int round = -WARM; round < rounds; round++)
        for (int k = 0, at = round < 0 ? 0 : round; k < WAYS; k++) {
            int way = (k + at) % WAYS;
            take(job, way, &times[0][way][at], &times[1][way][at]);
        }
    for (int what = 0; what < 2; what++)
        for (int way = 0; way < WAYS; way++) {
            double ratios[ROUNDS_MOST];
            for (int i = 0; i < rounds; i++) ratios[i] = times[what][way][i] / times[what][RAW][i];
            charts[what].ratio[row][way] = bench_median(ratios, rounds);
        }
    for (int what = 0; what < 2; what++)
        for (int way = 0; way < WAYS; way++)
            charts[what].value[row][way] = bench_median(times[what][way], rounds);
}

/* ---- */

static const int sizes[] = {10, 200, 2000}, counts[] = {0, 19, 58}, tenths[] = {0, 1, 10};
enum { SIZES = 3, ROWS = 9, AT_19 = 3 };

static chart begin_chart(const bench *bench, const char *title) {
    static const char *const rows[] = {"0, none", "0, a tenth", "0, all",      "19, none", "19, a tenth",
                                       "19, all", "58, none",   "58, a tenth", "58, all"};
    static const char *const columns[] = {"cuLaunchKernelEx", "tr_launch", "graph",
                                          "SetParams",        "plan",      "Triton"};
    chart chart = {.title = title, .unit = "ns", .row_name = "args, changed", .machine = bench->machine};
    chart.rows = ROWS, chart.columns = WAYS, chart.base = RAW;
    memcpy(chart.row, rows, sizeof rows);
    memcpy(chart.column, columns, sizeof columns);
    return chart;
}

/* What a plan is for: 200 kernels of 19 arguments. */
static void compare_with_bounds(bench *bench, const chart charts[2]) {
    const double *cpu = charts[0].value[AT_19], *done = charts[1].value[AT_19];
    bench_bound(bench, "plan, all changed, CPU, beside cuLaunchKernelEx", charts[0].ratio[AT_19 + 2][PLAN],
                AT_MOST, 0.15);
    bench_bound(bench, "plan, all changed, until done, beside cuLaunchKernelEx",
                charts[1].ratio[AT_19 + 2][PLAN], AT_MOST, 0.25);
    if (!bench->cpu) /* quicker than which it cannot be */
        printf("         (the replay of an unchanged graph: %.3f; the plan beside that: %.3f)\n",
               done[GRAPH] / charts[1].value[AT_19 + 2][RAW], charts[1].value[AT_19 + 2][PLAN] / done[GRAPH]);
    bench_bound(bench, "plan, a tenth changed, CPU, beside cuLaunchKernelEx",
                charts[0].ratio[AT_19 + 1][PLAN], AT_MOST, 0.05);
    bench_bound(bench, "plan, none changed, CPU, beside a graph", cpu[PLAN] / cpu[GRAPH], AT_MOST, 1.05);
    bench_bound(bench, "plan, none changed, until done, beside a graph", done[PLAN] / done[GRAPH], AT_MOST,
                1.05);
    if (charts[0].value[AT_19 + 2][TRITON] > 0)
        bench_bound(bench, "Triton's launches beside the plan, all changed, CPU",
                    charts[0].value[AT_19 + 2][TRITON] / charts[0].value[AT_19 + 2][PLAN], AT_LEAST, 30);
}

int main(int argc, char **argv) {
    static const char *const titles[SIZES][2] = {
        {"A step of 10 kernels, CPU time per kernel", "A step of 10 kernels until all has run, per kernel"},
        {"A step of 200 kernels, CPU time per kernel", "A step of 200 kernels until all has run, per kernel"},
        {"A step of 2000 kernels, CPU time per kernel",
         "A step of 2000 kernels until all has run, per kernel"}};
    static job job;
    static chart charts[SIZES][2];
    bench bench = {0};
    companion companion = {0};
    bench_start(&bench, argc, argv);
    companion_start(&companion, &bench);
    for (int i = 0; i < SIZES; i++) {
        for (int what = 0; what < 2; what++) charts[i][what] = begin_chart(&bench, titles[i][what]);
        for (int row = 0; row < ROWS; row++) {
            memset(&job, 0, sizeof job);
            job.bench = &bench, job.companion = &companion;
            job.kernels = bench.cpu ? sizes[i] / 10 : sizes[i];
            job.count = counts[row / 3], job.tenths = tenths[row % 3];
            prepare(&job);
            measure(&job, charts[i], row);
            clear(&job);
        }
    }
    compare_with_bounds(&bench, charts[1]);
    companion_end(&companion);
    return bench_finish(&bench, &charts[0][0], SIZES * 2);
}
