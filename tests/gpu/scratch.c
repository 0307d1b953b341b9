/* Scratch memory: on several streams, in graphs, from many threads. */
#include "gpu.h"

#include "examples/demo_kernels.h"

#include <pthread.h>

tr_kernel *load_scratching(gpu *gpu, char **ptx) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nld.param.u32 %r0, [value];\nld.param.u64 %d1, [g];\n"
        "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %tid.x;\nmad.lo.u32 %r3, %r1, 128, %r2;\nmul.wide.u32 %d2, "
        "%r3, 4;\n"
        "add.u64 %d1, %d1, %d2;\nadd.u64 %d0, %d0, %d2;\nadd.u32 %r4, %r0, %r3;\nst.global.u32 [%d1], %r4;\n"
        "mov.u32 %r5, 0;\nSPIN:\nadd.u32 %r5, %r5, 1;\nld.volatile.global.u32 %r6, [%d1];\n"
        "setp.lt.u32 %p0, %r5, 200;\n@%p0 bra SPIN;\nst.global.u32 [%d0], %r6;\n";
    *ptx = write_ptx(gpu, "scratching", ".param .u64 out,\n.param .u32 value,\n.param .u64 g,\n.param .u64 s",
                     128, body);
    return load_ptx(gpu, "scratching", *ptx,
                    "{\"type\": \"*i32\", \"name\": \"out\"}, {\"type\": \"i32\", \"name\": \"value\"}",
                    "\"shared\": 0, \"global_scratch_size\": 512, \"global_scratch_align\": 128, ");
}

enum { CTAS = 24, WORDS = CTAS * 128, STREAMS = 4 };

static bool is_right(const uint32_t *words, uint32_t value) {
    for (uint32_t i = 0; i < WORDS; i++)
        if (words[i] != value + i) return false;
    return true;
}

static void start(const tr_kernel *kernel, CUstream stream, uint64_t out, uint32_t value, tr_status *status) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    const tr_arg args[] = {tr_arg_ptr(out), tr_arg_i32((int32_t)value)};
    config.grid[0] = CTAS;
    config.stream = stream;
    tr_status got = tr_launch(kernel, &config, args, 2, NULL);
    if (got) *status = got;
}

void test_scratch(gpu *gpu) {
    static uint32_t got[WORDS];
    char *ptx;
    tr__scope scope;
    CUstream streams[STREAMS];
    uint64_t outs[STREAMS];
    tr_status status = TR_OK;
    tr_kernel *kernel = load_scratching(gpu, &ptx);
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    for (int i = 0; i < STREAMS; i++) {
        cu(gpu, cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
        outs[i] = allocate(gpu, sizeof got);
    }
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < STREAMS; i++)
            start(kernel, streams[i], outs[i], 1000000 * i + round, &status);
        if (round % 20 != 19) continue;
        for (uint32_t i = 0; i < STREAMS; i++) {
            read_back(gpu, got, outs[i], sizeof got);
            need(gpu, is_right(got, 1000000 * i + round));
        }
    }
    need(gpu, status == TR_OK);
    /* The caller's own workspace. */
    size_t bytes, alignment;
    const uint32_t grid[3] = {CTAS, 1, 1};
    ok(gpu, tr_kernel_workspace(kernel, grid, &bytes, &alignment, &error));
    need(gpu, bytes == CTAS * 512 && alignment == 128);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = CTAS;
    config.flags = TR_LAUNCH_WORKSPACE;
    config.workspace = allocate(gpu, bytes), config.workspace_size = bytes;
    const tr_arg args[] = {tr_arg_ptr(outs[0]), tr_arg_i32(7)};
    ok(gpu, tr_launch(kernel, &config, args, 2, &error));
    read_back(gpu, got, config.workspace, sizeof got);
    need(gpu, is_right(got, 7));
    ok(gpu, tr_device_free(gpu->runner, config.workspace, &error));
    for (int i = 0; i < STREAMS; i++) {
        cu(gpu, cuStreamDestroy(streams[i]));
        ok(gpu, tr_device_free(gpu->runner, outs[i], &error));
    }
    tr__driver_leave(gpu->driver, &scope);
    tr_kernel_destroy(kernel);
    free(ptx);
}

/* A captured launch with scratch is replayed while its kernel is destroyed, others run, and memory comes and goes. */
void test_graph(gpu *gpu) {
    static uint32_t got[WORDS], other[WORDS];
    const char *replays = getenv("TEST_GPU_REPLAYS");
    const uint32_t count = replays ? (uint32_t)atoi(replays) : 1000;
    char *ptx, *ptx2;
    tr__scope scope;
    CUstream stream, side;
    CUgraph graph;
    CUgraphExec exec;
    tr_status status = TR_OK;
    tr_kernel *captured = load_scratching(gpu, &ptx), *plain = load_scratching(gpu, &ptx2);
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    uint64_t out = allocate(gpu, sizeof got), out2 = allocate(gpu, sizeof got);
    cu(gpu, cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    cu(gpu, cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
    cu(gpu, cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    start(captured, stream, out, 5, &status);
    start(captured, stream, out, 77, &status);
    cu(gpu, cuStreamEndCapture(stream, &graph));
    need(gpu, status == TR_OK);
    tr_kernel_destroy(captured);
    cu(gpu, cuGraphInstantiateWithFlags(&exec, graph, 0));
    cu(gpu, cuGraphDestroy(graph));
    for (uint32_t i = 0; i < count; i++) {
        cu(gpu, cuGraphLaunch(exec, stream));
        start(plain, side, out2, i, &status);
        start(plain, stream, out2, i + 1000, &status);
        if (i % 50) continue;
        ok(gpu, tr_device_free(gpu->runner, allocate(gpu, 1 << 20), &error));
        if (i == 500) tr_kernel_destroy(plain), free(ptx2), plain = load_scratching(gpu, &ptx2);
        cu(gpu, cuStreamSynchronize(side));
        read_back(gpu, got, out, sizeof got);
        need(gpu, is_right(got, 77));
    }
    cu(gpu, cuGraphLaunch(exec, stream));
    read_back(gpu, got, out, sizeof got);
    read_back(gpu, other, out2, sizeof got);
    need(gpu, status == TR_OK && is_right(got, 77) &&
                  (is_right(other, count - 1) || is_right(other, count + 999)));
    cu(gpu, cuGraphExecDestroy(exec));
    cu(gpu, cuStreamDestroy(stream));
    cu(gpu, cuStreamDestroy(side));
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    ok(gpu, tr_device_free(gpu->runner, out2, &error));
    tr__driver_leave(gpu->driver, &scope);
    tr_kernel_destroy(plain);
    free(ptx);
    free(ptx2);
}

/* ---- threads ---- */

enum { THREADS = 16, KERNELS = 8 };

typedef struct worker {
    gpu *gpu;
    tr_kernel *const *kernels;
    tr_program *program;
    tr__context context;
    int number, launches;
    tr_status status;
    bool right;
} worker;

static void run_worker(worker *worker, CUstream *streams) {
    static _Thread_local uint32_t got[WORDS];
    tr__driver *driver = worker->gpu->driver;
    uint64_t outs[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        if (tr_device_alloc(worker->gpu->runner, sizeof got, &outs[i], NULL))
            worker->status = TR_E_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < (uint32_t)worker->launches && !worker->status; i++) {
        tr_kernel *own = NULL;
        if (i % 100 == 7) worker->status = tr_kernel_create(worker->program, &own, NULL);
        start(own ? own : worker->kernels[i % KERNELS], streams[i % STREAMS], outs[i % STREAMS], i,
              &worker->status);
        tr_kernel_destroy(own);
        if (i % 500 != 499) continue;
        driver->cuStreamSynchronize(streams[i % STREAMS]);
        if (!worker->status)
            worker->status = tr_device_read(worker->gpu->runner, got, outs[i % STREAMS], sizeof got, NULL);
        worker->right &= is_right(got, i);
    }
    for (int i = 0; i < STREAMS; i++) tr_device_free(worker->gpu->runner, outs[i], NULL);
}

static void *work(void *user) {
    worker *worker = user;
    tr__scope scope;
    CUstream streams[STREAMS];
    tr__driver *driver = worker->gpu->driver;
    if (!tr__driver_enter_context(driver, worker->context, &scope)) worker->status = TR_E_DRIVER;
    for (int i = 0; i < STREAMS && !worker->status; i++)
        if (driver->cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING)) worker->status = TR_E_DRIVER;
    if (worker->status) return NULL;
    run_worker(worker, streams);
    for (int i = 0; i < STREAMS; i++) driver->cuStreamDestroy(streams[i]);
    tr__driver_leave(driver, &scope);
    return NULL;
}

void test_threads(gpu *gpu) {
    pthread_t threads[THREADS];
    static worker workers[THREADS];
    tr_kernel *kernels[KERNELS];
    char *ptx[KERNELS];
    tr__scope scope;
    const char *launches = getenv("TEST_GPU_LAUNCHES");
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    for (int i = 0; i < KERNELS; i++) kernels[i] = load_scratching(gpu, &ptx[i]);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){gpu,           kernels, kernels[0]->program,
                              scope.context, i,       launches ? atoi(launches) : gpu->cpu ? 1000 : 20000,
                              TR_OK,         true};
        need(gpu, !pthread_create(&threads[i], NULL, work, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) need(gpu, workers[i].status == TR_OK && workers[i].right);
    tr__driver_leave(gpu->driver, &scope);
    for (int i = 0; i < KERNELS; i++) {
        tr_kernel_destroy(kernels[i]);
        free(ptx[i]);
    }
}
