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

/* A captured launch whose tensor map lies in storage that is overwritten: the graph has its own copy. Each CTA copies its
   row of 16 words by TMA. */
void test_graph_descriptor(gpu *gpu) {
    static const char *const body =
        ".shared .align 128 .b8 row[64];\n.shared .align 8 .b64 done;\n"
        "ld.param.u64 %d0, [out];\nmov.u32 %r0, %tid.x;\nmov.u32 %r1, %ctaid.x;\nmov.u32 %r2, row;\n"
        "mov.u32 %r3, done;\nmov.b64 %d1, map;\ncvta.param.u64 %d1, %d1;\nsetp.ne.u32 %p0, %r0, 0;\n"
        "@%p0 bra FILLED;\nmbarrier.init.shared::cta.b64 [%r3], 1;\nfence.proxy.async.shared::cta;\n"
        "mbarrier.arrive.expect_tx.shared::cta.b64 %d2, [%r3], 64;\nmov.u32 %r4, 0;\n"
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%d1, {%r4, "
        "%r1}], "
        "[%r3];\n"
        "FILLED:\nbar.sync 0;\n"
        "WAIT:\nmbarrier.try_wait.parity.shared::cta.b64 %p1, [%r3], 0;\n@!%p1 bra WAIT;\n"
        "setp.ge.u32 %p2, %r0, 16;\n@%p2 bra DONE;\nshl.b32 %r5, %r0, 2;\nadd.u32 %r5, %r5, %r2;\n"
        "ld.shared.u32 %r6, [%r5];\nmad.lo.u32 %r7, %r1, 16, %r0;\nmul.wide.u32 %d3, %r7, 4;\n"
        "add.u64 %d3, %d3, %d0;\nst.global.u32 [%d3], %r6;\nDONE:\n";
    enum { ROWS = 8, CELLS = 16 * ROWS };
    const char *replays = getenv("TEST_GPU_REPLAYS");
    const uint32_t count = replays ? (uint32_t)atoi(replays) : 1000;
    static uint32_t data[CELLS], got[CELLS];
    tr__scope scope;
    CUstream stream;
    CUgraph graph;
    CUgraphExec exec;
    char *ptx =
        write_ptx(gpu, "rows",
                  ".param .u64 out,\n.param .align 64 .b8 map[128],\n.param .u32 s0,\n.param .u32 s1,\n"
                  ".param .u64 t0,\n.param .u64 t1,\n.param .u64 g,\n.param .u64 s",
                  128, body);
    tr_kernel *kernel =
        load_ptx(gpu, "rows", ptx, "{\"type\": \"*i32\"}, {\"type\": \"tensordesc<i32[1, 16]>\"}",
                 "\"shared\": 0, \"global_scratch_size\": 0, \"global_scratch_align\": 1, "
                 "\"tensordesc_meta\": [{\"swizzle\": 0, "
                 "\"elem_size\": 4, \"elem_type\": 2, \"block_size\": [1, 16], \"fp4_padded\": false}], ");
    uint64_t in = allocate(gpu, sizeof data), out = allocate(gpu, sizeof data);
    tr_tensor tensor = {sizeof(tr_tensor), in, TR_TYPE_I32, 2, 0, 0, {ROWS, 16}, {16, 1}};
    tr_tensor_map map, other;
    ok(gpu, tr_tensor_map_encode(kernel, 1, &tensor, &map, &error));
    tensor.shape[0] = 1; /* another map: rows behind the first read as zero */
    ok(gpu, tr_tensor_map_encode(kernel, 1, &tensor, &other, &error));
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    cu(gpu, cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    cu(gpu, cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    tr_arg args[] = {tr_arg_ptr(out), tr_arg_map(&map)};
    launch(gpu, kernel, ROWS, stream, args, 2);
    cu(gpu, cuStreamEndCapture(stream, &graph));
    memcpy(&map, &other, sizeof map);
    cu(gpu, cuGraphInstantiateWithFlags(&exec, graph, 0));
    cu(gpu, cuGraphDestroy(graph));
    for (uint32_t i = 0; i < count; i++) {
        if (i == count / 2) tr_kernel_destroy(kernel), kernel = NULL;
        cu(gpu, cuGraphLaunch(exec, stream));
        if (kernel) {
            launch(gpu, kernel, ROWS, stream, args, 2); /* the other map, after the graph on the stream */
            cu(gpu, cuGraphLaunch(exec, stream));
        }
        if (i % 100) continue;
        for (uint32_t k = 0; k < CELLS; k++) data[k] = i + 1000 * k;
        cu(gpu, cuStreamSynchronize(stream));
        ok(gpu, tr_device_write(gpu->runner, in, data, sizeof data, &error));
        ok(gpu, tr_device_free(gpu->runner, allocate(gpu, 1 << 16), &error));
        cu(gpu, cuGraphLaunch(exec, stream));
        read_back(gpu, got, out, sizeof got);
        need(gpu, !memcmp(got, data, sizeof got));
    }
    cu(gpu, cuStreamSynchronize(stream));
    cu(gpu, cuGraphExecDestroy(exec));
    cu(gpu, cuStreamDestroy(stream));
    ok(gpu, tr_device_free(gpu->runner, in, &error));
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    tr__driver_leave(gpu->driver, &scope);
    tr_kernel_destroy(kernel);
    free(ptx);
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

/* The primary context of a device, retained until the end. */
static tr__context context_of(gpu *gpu, int device) {
    tr__context context;
    CUcontext popped;
    cu(gpu, cuDevicePrimaryCtxRetain(&context.handle, device));
    cu(gpu, cuCtxPushCurrent(context.handle));
    context.id = tr__driver_current(gpu->driver);
    cu(gpu, cuCtxPopCurrent(&popped));
    return context;
}

/* On as many devices as there are: every other thread works on the second one, with the same kernels. */
void test_threads(gpu *gpu) {
    pthread_t threads[THREADS];
    static worker workers[THREADS];
    tr_kernel *kernels[KERNELS];
    char *ptx[KERNELS];
    tr__context contexts[2];
    int devices = 0;
    const char *launches = getenv("TEST_GPU_LAUNCHES");
    cu(gpu, cuDeviceGetCount(&devices));
    devices = devices > 2 ? 2 : devices;
    for (int i = 0; i < devices; i++) contexts[i] = context_of(gpu, i);
    for (int i = 0; i < KERNELS; i++) kernels[i] = load_scratching(gpu, &ptx[i]);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){gpu,
                              kernels,
                              kernels[0]->program,
                              contexts[i % devices],
                              i,
                              launches   ? atoi(launches)
                              : gpu->cpu ? 1000
                                         : 20000,
                              TR_OK,
                              true};
        need(gpu, !pthread_create(&threads[i], NULL, work, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("    %d devices, %d launches\n", devices, THREADS * workers[0].launches);
    for (int i = 0; i < THREADS; i++) need(gpu, workers[i].status == TR_OK && workers[i].right);
    for (int i = 0; i < KERNELS; i++) {
        tr_kernel_destroy(kernels[i]);
        free(ptx[i]);
    }
    for (int i = 0; i < devices; i++) cu(gpu, cuDevicePrimaryCtxRelease(i));
}
