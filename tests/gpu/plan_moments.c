/* How plans are made and when they are used: recorded from launches, within captures, by threads, on devices. */
#include "plan.h"

#include <pthread.h>

void test_plan_record(gpu *gpu) {
    enum { SIZE = 24 * 128 };
    static uint32_t seen[2][SIZE];
    char *ptx;
    uint32_t first, count;
    tr_arg args[5];
    tr__scope scope;
    tr_plan *plan;
    tr_error *told = NULL;
    tr_kernel *scratching = load_scratching(gpu, &ptx), *affine = load_affine(gpu);
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    CUstream stream = make_stream(gpu), other = make_stream(gpu);
    uint64_t x = allocate(gpu, sizeof *seen), y = allocate(gpu, sizeof *seen);
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    need(gpu, tr_plan_record(plan, NULL, &told) && strstr(tr_error_message(told), "default stream"));
    tr_error_destroy(told);
    ok(gpu, tr_plan_record(plan, stream, &error));
    const tr_arg scratch_args[] = {tr_arg_ptr(x), tr_arg_i32(100)};
    launch(gpu, scratching, 24, stream, scratch_args, 2);
    affine_args(args, y, x, 3, 1, SIZE);
    launch(gpu, affine, 24, stream, args, 5);
    launch(gpu, affine, 24, other, args, 5); /* another stream: launched */
    ok(gpu, tr_plan_recorded(plan, &first, &count, &error));
    need(gpu, first == 0 && count == 2);
    read_back(gpu, seen[0], x, sizeof *seen);
    need(gpu, seen[0][0] == 0); /* nothing ran */
    for (uint32_t step = 0; step < 3; step++) {
        affine_args(args, y, x, 3 + step, 1, SIZE);
        ok(gpu, tr_plan_set(plan, first + 1, NULL, args, 5, &error));
        ok(gpu, tr_plan_launch(plan, other, &error));
        read_back(gpu, seen[0], x, sizeof *seen);
        read_back(gpu, seen[1], y, sizeof *seen);
        for (uint32_t i = 0; i < SIZE; i++)
            need(gpu, seen[0][i] == 100 + i && seen[1][i] == (100 + i) * (3 + step) + 1 + i);
    }
    ok(gpu, tr_plan_record(plan, stream, &error));
    cu(gpu, cuMemcpyDtoDAsync(x, y, 64, stream)); /* not by tr_launch */
    told = NULL;
    need(gpu, tr_plan_recorded(plan, NULL, NULL, &told) == TR_E_UNSUPPORTED);
    printf("    %s\n", tr_error_message(told));
    tr_error_destroy(told);
    launch(gpu, affine, 24, stream, args, 5); /* the stream is as it was */
    ok(gpu, tr_plan_record(plan, stream, &error));
    tr_plan_destroy(plan);
    launch(gpu, affine, 24, stream, args, 5);
    cu(gpu, cuStreamSynchronize(stream));
    cu(gpu, cuStreamDestroy(stream));
    cu(gpu, cuStreamDestroy(other));
    ok(gpu, tr_device_free(gpu->runner, x, &error));
    ok(gpu, tr_device_free(gpu->runner, y, &error));
    tr__driver_leave(gpu->driver, &scope);
    tr_kernel_destroy(scratching);
    tr_kernel_destroy(affine);
    free(ptx);
}

/* ---- moments that are not convenient ---- */

/* While a stream is captured in the strictest mode, by this thread; then into that stream itself. */
void test_plan_in_a_capture(gpu *gpu) {
    char *ptx;
    uint32_t seen[128];
    tr__scope scope;
    tr_plan *plan;
    CUgraph graph;
    tr_kernel *kernel = load_scratching(gpu, &ptx);
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    CUstream captured = make_stream(gpu), stream = make_stream(gpu);
    uint64_t out = allocate(gpu, sizeof seen);
    const tr_arg args[] = {tr_arg_ptr(out), tr_arg_i32(9)};
    cu(gpu, cuStreamBeginCapture(captured, CU_STREAM_CAPTURE_MODE_GLOBAL));
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    ok(gpu, tr_plan_add(plan, kernel, NULL, args, 2, NULL, 0, NULL, &error));
    ok(gpu, tr_plan_launch(plan, stream, &error));
    need(gpu, tr_plan_launch(plan, captured, NULL) == TR_E_INVALID_ARGUMENT);
    launch(gpu, kernel, 1, captured, args, 2);
    cu(gpu, cuStreamEndCapture(captured, &graph));
    cu(gpu, cuGraphDestroy(graph));
    cu(gpu, cuStreamSynchronize(stream));
    read_back(gpu, seen, out, sizeof seen);
    for (uint32_t i = 0; i < 128; i++) need(gpu, seen[i] == 9 + i);
    cu(gpu, cuStreamBeginCapture(captured, CU_STREAM_CAPTURE_MODE_GLOBAL));
    tr_plan_destroy(plan);
    launch(gpu, kernel, 1, captured, args, 2);
    cu(gpu, cuStreamEndCapture(captured, &graph));
    cu(gpu, cuGraphDestroy(graph));
    cu(gpu, cuStreamDestroy(captured));
    cu(gpu, cuStreamDestroy(stream));
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    tr__driver_leave(gpu->driver, &scope);
    tr_kernel_destroy(kernel);
    free(ptx);
}

/* ---- a plan per thread ---- */

typedef struct worker {
    gpu *gpu;
    const tr_kernel *affine, *scratching;
    uint64_t x, y;
    uint32_t seed;
    tr_status status;
    bool right;
} worker;

static tr_status work(worker *worker) {
    enum { SIZE = 512, ROUNDS = 30 };
    tr_runner *runner = worker->gpu->runner;
    tr_arg args[5];
    tr_plan *plan;
    uint32_t seen[SIZE], value = 0;
    const uint32_t grid[3] = {4, 1, 1};
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = 4;
    tr_status status = tr_plan_create(runner, &plan, NULL);
    if (status) return status;
    tr_arg scratch_args[] = {tr_arg_ptr(worker->x), tr_arg_i32(0)};
    affine_args(args, worker->y, worker->x, 1, 0, SIZE);
    status = tr_plan_add(plan, worker->scratching, &config, scratch_args, 2, NULL, 0, NULL, NULL);
    if (!status) status = tr_plan_add(plan, worker->affine, &config, args, 5, NULL, 0, NULL, NULL);
    worker->right = true;
    for (int round = 0; round < ROUNDS && !status; round++) {
        uint32_t factor = 1 + next_random(&worker->seed, 1000);
        value = next_random(&worker->seed, 1000000);
        scratch_args[1] = tr_arg_i32((int32_t)value);
        affine_args(args, worker->y, worker->x, factor, 0, SIZE);
        status = tr_plan_set(plan, 0, grid, scratch_args, 2, NULL);
        if (!status) status = tr_plan_set(plan, 1, grid, args, 5, NULL);
        if (!status) status = tr_plan_launch(plan, NULL, NULL);
        if (!status)
            status =
                tr_device_read(runner, seen, worker->y, sizeof seen, NULL); /* behind the default stream */
        for (uint32_t i = 0; i < SIZE; i++) worker->right &= seen[i] == (value + i) * factor + i;
    }
    tr_plan_destroy(plan);
    return status;
}

static void *run_worker(void *argument) {
    worker *worker = argument;
    worker->status = work(worker);
    return NULL;
}

static void run_workers(gpu *gpu) {
    enum { THREADS = 8 };
    char *ptx;
    pthread_t threads[THREADS];
    worker workers[THREADS];
    tr_kernel *affine = load_affine(gpu), *scratching = load_scratching(gpu, &ptx);
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] =
            (worker){gpu, affine, scratching, allocate(gpu, 2048), allocate(gpu, 2048), i, TR_OK, false};
        need(gpu, !pthread_create(&threads[i], NULL, run_worker, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        need(gpu, workers[i].status == TR_OK && workers[i].right);
        ok(gpu, tr_device_free(gpu->runner, workers[i].x, &error));
        ok(gpu, tr_device_free(gpu->runner, workers[i].y, &error));
    }
    tr_kernel_destroy(affine);
    tr_kernel_destroy(scratching);
    free(ptx);
}

void test_plan_threads(gpu *gpu) {
    run_workers(gpu);
}

/* The same on the second device, where there is one. */
void test_plan_devices(gpu *gpu) {
    char name[64];
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *first = gpu->runner, *second;
    tr__driver *driver = gpu->driver;
    tr_error *told = NULL;
    snprintf(name, sizeof name, "%.50s:1", gpu->name);
    options.device = name;
    options.cache_dir = "";
    ok(gpu, tr_runner_create(&options, &second, &error));
    if (tr__runner_driver(second, &gpu->driver, &told)) {
        printf("    SKIPPED: %s\n", tr_error_message(told));
        tr_error_destroy(told);
        gpu->driver = driver;
    } else {
        gpu->runner = second;
        run_workers(gpu);
        gpu->runner = first, gpu->driver = driver;
        run_workers(gpu);
    }
    tr_runner_destroy(second);
}
