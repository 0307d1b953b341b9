/* Many threads launch the same kernels on their own streams of two devices, while others load, destroy and capture:
   every launch arrives, nothing is left. Of use under the thread sanitizer above all. */
#include "launch.h"
#include "stub.h"

#include <pthread.h>

enum { THREADS = 16, KERNELS = 8, STREAMS = 4, LAUNCHES = 20000 };

static tr_runner *runner;
static tr_kernel *kernels[KERNELS];
static tr_program *passing;
static unsigned long sent, captured;

static void scratching(tr__record *record) {
    record->global_scratch = (tr__scratch){64, 128};
}

static void overlapping(tr__record *record) {
    record->global_scratch = (tr__scratch){64, 128};
    record->programmatic = true;
}

static void clustered(tr__record *record) {
    record->num_ctas = 2;
}

/* A launch of kernel `i`, whose argument is its number. */
static bool launch_one(const tr_kernel *kernel, uint32_t i, CUstream stream) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    const tr_arg args[] = {tr_arg_ptr(4096 * i), tr_arg_i32((int32_t)i)};
    config.grid[0] = 1 + i % 64;
    config.stream = stream;
    return tr_launch(kernel, &config, args, 2, NULL) == TR_OK;
}

static bool capture(CUstream stream) {
    CUgraph graph;
    bool fine = !cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    for (uint32_t i = 0; i < KERNELS; i++) fine &= launch_one(kernels[i], i, stream);
    fine &= !cuStreamEndCapture(stream, &graph);
    return !cuGraphDestroy(graph) && fine;
}

static void *work(void *user) {
    int number = *(const int *)user;
    unsigned long launches = 0, in_captures = 0;
    CUcontext context;
    CUstream streams[STREAMS];
    bool fine = !cuCtxCreate_v2(&context, 0, number % 2);
    for (int i = 0; i < STREAMS; i++) fine &= !cuStreamCreate(&streams[i], 0);
    for (int i = 0; i < KERNELS; i++) fine &= !tr_kernel_load(kernels[i], NULL);
    for (uint32_t i = 0; i < LAUNCHES && fine; i++) {
        tr_kernel *own = NULL;
        if (i % 1000 == 500) fine &= !tr_kernel_create(passing, &own, NULL);
        fine &= launch_one(own ? own : kernels[i % KERNELS], i, streams[i % STREAMS]);
        launches++;
        tr_kernel_destroy(own);
        if (i % 2000 == 1000) fine &= capture(streams[i % STREAMS]), in_captures += KERNELS;
    }
    for (int i = 0; i < STREAMS; i++) fine &= !cuStreamDestroy_v2(streams[i]);
    __atomic_fetch_add(&sent, launches, __ATOMIC_RELAXED);
    __atomic_fetch_add(&captured, in_captures, __ATOMIC_RELAXED);
    return fine ? context : NULL; /* destroyed when all kernels are */
}

static void test_threads(void **state) {
    pthread_t threads[THREADS];
    int numbers[THREADS];
    CUcontext contexts[THREADS];
    static adjust *const adjusts[KERNELS] = {NULL,      scratching, NULL, overlapping,
                                             clustered, scratching, NULL, NULL};
    char name[16];
    assert_int_equal(tr_runner_create(NULL, &runner, NULL), TR_OK);
    for (int i = 0; i < KERNELS; i++) {
        snprintf(name, sizeof name, "k%d", i);
        kernels[i] = make_kernel(runner, name, "*fp32:16, i32", adjusts[i]);
    }
    passing = make_program(runner, "passing", "*fp32:16, i32", scratching);
    unsigned long before = stub_calls("cuLaunchKernelEx");
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *context;
        pthread_join(threads[i], &context);
        assert_non_null(contexts[i] = context);
    }
    assert_int_equal(sent, THREADS * LAUNCHES);
    assert_int_equal(stub_calls("cuLaunchKernelEx") - before, sent + captured);
    for (int i = 0; i < KERNELS; i++) tr_kernel_destroy(kernels[i]);
    tr_program_destroy(passing);
    tr__settle();
    assert_int_equal(stub_alive(STUB_USER_OBJECT), 0);
    for (int i = 0; i < THREADS; i++) { /* what waits for its context goes when that is current again */
        CUcontext popped;
        assert_int_equal(cuCtxPushCurrent_v2(contexts[i]), 0);
        assert_int_equal(tr_device_synchronize(runner, NULL), TR_OK);
        assert_int_equal(cuCtxPopCurrent_v2(&popped), 0);
    }
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    /* Scratch goes with the runner; of contexts that are not current then, with them: here of two streams each. */
    tr_runner_destroy(runner);
    assert_int_equal(stub_alive(STUB_MEMORY), 2 * THREADS);
    for (int i = 0; i < THREADS; i++) cuCtxDestroy_v2(contexts[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
