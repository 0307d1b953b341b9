/* The CPU device's driver: what runs when. Streams, events, the caller's code in a stream, many threads, two
   devices. */
#include "cpu_driver.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* A host function that holds its stream until told. */
typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int entered, open;
} gate;
#define CLOSED                                                                                               \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 }

static void wait_at(void *user) {
    gate *at = user;
    pthread_mutex_lock(&at->lock);
    at->entered = 1;
    pthread_cond_broadcast(&at->changed);
    while (!at->open) pthread_cond_wait(&at->changed, &at->lock);
    pthread_mutex_unlock(&at->lock);
}

static void await_entry(gate *at) {
    pthread_mutex_lock(&at->lock);
    while (!at->entered) pthread_cond_wait(&at->changed, &at->lock);
    pthread_mutex_unlock(&at->lock);
}

static void open_gate(gate *at) {
    pthread_mutex_lock(&at->lock);
    at->open = 1;
    pthread_cond_broadcast(&at->changed);
    pthread_mutex_unlock(&at->lock);
}

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static void nap_in_stream(void *user) {
    nap();
}

static CUstream new_stream(unsigned int flags) {
    CUstream stream;
    OK(cuStreamCreate(&stream, flags));
    return stream;
}

static void does_not_wait_for_its_streams(void **state) {
    add_kernel add = load_add();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING), other = new_stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr memory = allocate_zeros(64);
    gate at = CLOSED;
    CUevent event;
    OK(cuCtxSynchronize());
    OK(cuEventCreate(&event, 0));
    OK(cuLaunchHostFunc(stream, wait_at, &at));
    OK(launch_add(add.function, stream, memory, 1, 16));
    OK(cuEventRecord(event, stream));
    assert_int_equal(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
    assert_int_equal(cuEventQuery(event), CUDA_ERROR_NOT_READY);
    OK(launch_add(add.function, other, memory + 32, 5, 8));
    OK(cuStreamSynchronize(other));
    uint32_t *pinned;
    OK(cuMemHostAlloc((void **)&pinned, 64, 0));
    OK(cuMemcpyDtoHAsync_v2(pinned, memory, 64, other));
    OK(cuStreamSynchronize(other));
    assert_int_equal(pinned[0], 0);
    assert_int_equal(pinned[8], 5);
    open_gate(&at);
    OK(cuEventSynchronize(event));
    OK(cuEventQuery(event));
    OK(cuStreamQuery(stream));
    assert_words(memory, 8, 1);
    OK(cuMemFreeHost(pinned));
    OK(cuEventDestroy_v2(event));
    OK(cuMemFree_v2(memory));
    OK(cuStreamDestroy_v2(stream));
    OK(cuStreamDestroy_v2(other));
    assert_int_equal(cuStreamSynchronize(stream), CUDA_ERROR_INVALID_HANDLE);
    OK(cuModuleUnload(add.module));
}

static void a_stream_waits_for_an_event(void **state) {
    add_kernel add = load_add();
    CUstream first = new_stream(CU_STREAM_NON_BLOCKING), second = new_stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr memory = allocate_zeros(4000);
    gate at = CLOSED;
    CUevent event;
    OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    OK(cuCtxSynchronize());
    OK(cuLaunchHostFunc(first, wait_at, &at));
    OK(cuMemsetD32Async(memory, 7, 1000, first));
    OK(cuEventRecord(event, first));
    OK(cuStreamWaitEvent(second, event, 0));
    OK(launch_add(add.function, second, memory, 1, 1000));
    nap();
    assert_int_equal(cuStreamQuery(second), CUDA_ERROR_NOT_READY);
    /* Recorded anew: those who wait already wait for the record they saw. */
    OK(cuEventRecord(event, first));
    open_gate(&at);
    OK(cuStreamSynchronize(second));
    assert_words(memory, 1000, 8);
    float milliseconds;
    assert_int_equal(cuEventElapsedTime(&milliseconds, event, event), CUDA_ERROR_INVALID_HANDLE);
    OK(cuEventDestroy_v2(event));
    OK(cuMemFree_v2(memory));
    OK(cuStreamDestroy_v2(first));
    OK(cuStreamDestroy_v2(second));
    OK(cuModuleUnload(add.module));
}

static void the_legacy_stream_waits_and_is_waited_for(void **state) {
    add_kernel add = load_add();
    CUstream blocking = new_stream(CU_STREAM_DEFAULT), free_stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr memory = allocate_zeros(4000);
    gate at = CLOSED;
    OK(cuCtxSynchronize());
    OK(cuLaunchHostFunc(blocking, wait_at, &at));
    OK(cuMemsetD32Async(memory, 3, 1000, blocking));
    OK(launch_add(add.function, NULL, memory, 1, 1000));      /* after the blocking stream's */
    OK(launch_add(add.function, blocking, memory, 10, 1000)); /* after the legacy stream's */
    OK(cuMemsetD8Async(memory + 3999, 0, 1, free_stream));    /* waits for nobody */
    OK(cuStreamSynchronize(free_stream));
    assert_int_equal(cuStreamQuery(NULL), CUDA_ERROR_NOT_READY);
    open_gate(&at);
    assert_words(memory, 999, 14);
    OK(cuMemFree_v2(memory));
    OK(cuStreamDestroy_v2(blocking));
    OK(cuStreamDestroy_v2(free_stream));
    OK(cuModuleUnload(add.module));
}

static void events_tell_time(void **state) {
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent start, end;
    float milliseconds;
    OK(cuEventCreate(&start, 0));
    OK(cuEventCreate(&end, 0));
    assert_int_equal(cuEventElapsedTime(&milliseconds, start, end), CUDA_ERROR_INVALID_HANDLE);
    OK(cuEventQuery(start));
    OK(cuEventRecord(start, stream));
    OK(cuLaunchHostFunc(stream, nap_in_stream, NULL));
    OK(cuEventRecord(end, stream));
    OK(cuEventSynchronize(end));
    OK(cuEventElapsedTime(&milliseconds, start, end));
    assert_true(milliseconds > 15 && milliseconds < 2000);
    OK(cuEventElapsedTime(&milliseconds, end, start));
    assert_true(milliseconds < -15);
    OK(cuEventDestroy_v2(start));
    OK(cuEventDestroy_v2(end));
    OK(cuStreamDestroy_v2(stream));
}

/* ---- the caller's code ---- */
static CUresult from_callback;

static void call_the_driver(void *user) {
    from_callback = cuCtxSynchronize();
}

static void note_status(CUstream stream, CUresult status, void *user) {
    *(CUresult *)user = status;
}

static void callbacks_may_not_call_the_driver(void **state) {
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUresult status = CUDA_ERROR_UNKNOWN;
    from_callback = CUDA_SUCCESS;
    OK(cuLaunchHostFunc(stream, call_the_driver, NULL));
    OK(cuStreamAddCallback(stream, note_status, &status, 0));
    OK(cuStreamSynchronize(stream));
    assert_int_equal(from_callback, CUDA_ERROR_NOT_PERMITTED);
    assert_int_equal(status, CUDA_SUCCESS);
    OK(cuStreamDestroy_v2(stream));
}

static void a_destroyed_stream_finishes_its_work(void **state) {
    add_kernel add = load_add();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr memory = allocate_zeros(4000);
    OK(cuCtxSynchronize());
    gate at = CLOSED;
    OK(cuLaunchHostFunc(stream, wait_at, &at));
    await_entry(&at);
    for (int i = 0; i < 10; i++) OK(launch_add(add.function, stream, memory, 1, 1000));
    OK(cuStreamDestroy_v2(stream));
    OK(cuModuleUnload(add.module)); /* its kernels still run */
    open_gate(&at);
    OK(cuCtxSynchronize());
    assert_words(memory, 1000, 10);
    OK(cuMemFree_v2(memory));
}

static void after_a_fault_only_callbacks_run(void **state) {
    CUcontext context;
    OK(cuCtxCreate_v2(&context, 0, 0));
    add_kernel add = load_add();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr memory = allocate_zeros(16);
    OK(cuCtxSynchronize());
    gate at = CLOSED;
    CUresult status = CUDA_SUCCESS;
    CUresult unchanged = from_callback = CUDA_ERROR_UNKNOWN;
    OK(cuLaunchHostFunc(stream, wait_at, &at));
    OK(launch_add(add.function, stream, memory, 1, 100000));
    OK(cuLaunchHostFunc(stream, call_the_driver, NULL));
    OK(cuStreamAddCallback(stream, note_status, &status, 0));
    open_gate(&at);
    assert_int_equal(cuStreamSynchronize(stream), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(status, CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(from_callback, unchanged);
    assert_int_equal(cuStreamDestroy_v2(stream), CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(cuCtxDestroy_v2(context));
}

/* ---- many threads ---- */
enum { THREADS = 16, ROUNDS = 200, WORDS = 256 };

typedef struct worker {
    pthread_t thread;
    CUcontext context;
    add_kernel add;
    CUdeviceptr shared_memory;
    int wrong;
} worker;

static int work_alone(worker *self) {
    uint32_t *words = NULL;
    CUdeviceptr memory;
    CUstream stream;
    CUevent event;
    int wrong = cuCtxSetCurrent(self->context) || cuMemAlloc_v2(&memory, WORDS * 4) ||
                cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) || cuEventCreate(&event, 0) ||
                cuMemHostAlloc((void **)&words, WORDS * 4, 0) ||
                cuMemsetD8Async(memory, 0, WORDS * 4, stream);
    for (int i = 0; i < ROUNDS && !wrong; i++) {
        wrong = launch_add(self->add.function, stream, memory, 1, WORDS);
        if (i % 16 == 0) wrong = wrong || cuEventRecord(event, stream) || cuEventSynchronize(event);
    }
    wrong = wrong || cuMemcpyDtoHAsync_v2(words, memory, WORDS * 4, stream) || cuStreamSynchronize(stream);
    for (int i = 0; i < WORDS && !wrong; i++) wrong = words[i] != ROUNDS;
    return wrong || cuMemFreeHost(words) || cuMemFree_v2(memory) || cuEventDestroy_v2(event) ||
           cuStreamDestroy_v2(stream) || cuCtxSetCurrent(NULL);
}

static void *run_worker(void *argument) {
    worker *self = argument;
    self->wrong = work_alone(self);
    return NULL;
}

static void sixteen_threads_on_two_devices(void **state) {
    CUcontext contexts[2];
    add_kernel adds[2];
    worker workers[THREADS] = {0};
    OK(cuCtxGetCurrent(&contexts[0]));
    OK(cuDevicePrimaryCtxRetain(&contexts[1], 1));
    adds[0] = load_add();
    OK(cuCtxPushCurrent_v2(contexts[1]));
    adds[1] = load_add();
    OK(cuCtxPopCurrent_v2(NULL));
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.context = contexts[i % 2], .add = adds[i % 2]};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    OK(cuModuleUnload(adds[0].module));
    OK(cuDevicePrimaryCtxRelease_v2(1));
}

static void devices_have_memories_of_their_own(void **state) {
    CUcontext second;
    OK(cuCtxCreate_v2(&second, 0, 1));
    CUdeviceptr there = allocate_zeros(4000), here;
    add_kernel add = load_add();
    OK(cuCtxPopCurrent_v2(NULL));
    here = allocate_zeros(4000);
    OK(cuMemsetD32_v2(here, 9, 1000));
    OK(cuMemcpyPeer(there, second, here, NULL, 4000));
    assert_words(there, 1000, 9);
    int ordinal;
    OK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, there));
    assert_int_equal(ordinal, 1);
    /* A function belongs to its context, and memory to its device. */
    assert_int_equal(launch_add(add.function, NULL, here, 1, 1000), CUDA_ERROR_INVALID_HANDLE);
    OK(cuCtxPushCurrent_v2(second));
    OK(launch_add(add.function, NULL, here, 1, 1000));
    assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(cuCtxDestroy_v2(second));
    assert_words(here, 1000, 9);
    OK(cuMemFree_v2(here));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_not_wait_for_its_streams),
        cmocka_unit_test(a_stream_waits_for_an_event),
        cmocka_unit_test(the_legacy_stream_waits_and_is_waited_for),
        cmocka_unit_test(events_tell_time),
        cmocka_unit_test(callbacks_may_not_call_the_driver),
        cmocka_unit_test(a_destroyed_stream_finishes_its_work),
        cmocka_unit_test(after_a_fault_only_callbacks_run),
        cmocka_unit_test(sixteen_threads_on_two_devices),
        cmocka_unit_test(devices_have_memories_of_their_own),
    };
    return cmocka_run_group_tests(tests, start_driver, stop_driver);
}
