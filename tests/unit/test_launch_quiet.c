/* A warm launch allocates nothing, locks nothing and makes no system call: each kind is launched many times by a child
   that the kernel kills at its first call. */
#include "launch.h"
#include "stub.h"

#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long locks, allocations;
#ifdef TR_COUNTED /* the linker sends the library's locks and allocations here */
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex) {
    __atomic_fetch_add(&locks, 1, __ATOMIC_RELAXED);
    return __real_pthread_mutex_lock(mutex);
}
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
    allocations++;
    return __real_malloc(size);
}
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size) {
    allocations++;
    return __real_calloc(count, size);
}
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size) {
    allocations++;
    return __real_realloc(memory, size);
}
#endif

/* Valgrind calls the system itself now and then, and so does a sanitizer. */
static bool is_alone(void) {
    const char *preloaded = getenv("LD_PRELOAD");
#ifndef TR_COUNTED
    return false;
#endif
    return !preloaded || !strstr(preloaded, "vgpreload");
}

/* qemu-user has no filter for system calls. */
static bool can_filter(void) {
    return prctl(PR_GET_SECCOMP) >= 0;
}

static void scratching(tr__record *record) {
    record->global_scratch = (tr__scratch){384, 128};
    record->profile_scratch = (tr__scratch){64, 16};
}
static void clustered(tr__record *record) {
    record->num_ctas = 2;
}
static void cooperative(tr__record *record) {
    record->cooperative = true;
}
static void programmatic(tr__record *record) {
    record->programmatic = true;
}

static const struct kind {
    const char *signature;
    adjust *adjust;
    uint32_t flags;
} kinds[] = {
    {"*fp32:16, i32, fp32, i64:16", NULL, 0},
    {"*fp32:16, i32, fp32, i64:16", NULL, TR_LAUNCH_PRIORITY | TR_LAUNCH_CARVEOUT},
    {"*fp32:16, i32, fp32, i64:16", NULL, TR_LAUNCH_CHECK_POINTERS},
    {"*fp32:16, i32, fp32, i64:16", scratching, 0},
    {"*fp32:16, i32, fp32, i64:16", scratching, TR_LAUNCH_WORKSPACE},
    {"*fp32:16, i32, fp32, i64:16", clustered, 0},
    {"*fp32:16, i32, fp32, i64:16", cooperative, 0},
    {"*fp32:16, i32, fp32, i64:16", programmatic, 0},
    {"*fp32:16, fp16, u8, tensordesc<fp16[64, 64]>", NULL, 0},
};

typedef struct job {
    tr_kernel *kernel;
    tr_launch_config config;
    tr_arg args[4];
    char packed[512];
    size_t size;
} job;

static bool launch_all(job *job, int times) {
    bool fine = true;
    for (int i = 0; i < times; i++) {
        job->config.grid[0] = 1 + (uint32_t)i % 7;
        fine &= !tr_launch(job->kernel, &job->config, job->args, 4, NULL);
        fine &= !tr_launch_packed(job->kernel, &job->config, job->packed, job->size, NULL);
        fine &= !tr_kernel_pack(job->kernel, job->args, 4, job->packed, sizeof job->packed, NULL);
    }
    return fine;
}

/* 0: quiet. */
static int launch_quietly(job *job) {
    unsigned long locked = locks, allocated = allocations;
    if (is_alone() && can_filter() && prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) return 4;
    bool fine = launch_all(job, 200);
    return !fine ? 1 : locks != locked ? 2 : allocations != allocated ? 3 : 0;
}

/* The filter lets a thread end, not a process; a sanitizer has a thread of its own. */
static void end(int status) {
    if (!is_alone()) _exit(status);
    syscall(SYS_exit, status);
}

static void test_quiet(void **state) {
    tr_runner *runner;
    tr_tensor_map map;
    CUstream stream;
    CUcontext context;
    uint64_t memory;
    if (!can_filter()) print_message("there is no filter for system calls here: they are not looked at\n");
    assert_int_equal(tr_runner_create(NULL, &runner, NULL), TR_OK);
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    assert_int_equal(tr_device_alloc(runner, 1 << 20, &memory, NULL), TR_OK);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        job job = {.config = TR_LAUNCH_CONFIG_INIT};
        job.kernel = make_kernel(runner, "quiet", kinds[i].signature, kinds[i].adjust);
        job.config.stream = stream;
        job.config.flags = kinds[i].flags;
        job.config.workspace = memory, job.config.workspace_size = 1 << 20;
        const tr_arg plain[4] = {tr_arg_ptr(memory), tr_arg_i32(-7), tr_arg_f32(1.5f), tr_arg_i64(32)};
        memcpy(job.args, plain, sizeof plain);
        if (strstr(kinds[i].signature, "tensordesc")) {
            const tr_tensor tensor = {sizeof(tr_tensor), memory, TR_TYPE_F16, 2, 0, 0, {100, 200}, {208, 1}};
            assert_int_equal(tr_tensor_map_encode(job.kernel, 3, &tensor, &map, NULL), TR_OK);
            job.args[1] = tr_arg_f32(0.5f);
            job.args[2] = tr_arg_i32(255);
            job.args[3] = tr_arg_map(&map);
        }
        int64_t size;
        assert_int_equal(tr_kernel_attribute(job.kernel, TR_ATTRIBUTE_PACKED_SIZE, &size, NULL), TR_OK);
        job.size = (size_t)size;
        assert_int_equal(tr_kernel_pack(job.kernel, job.args, 4, job.packed, sizeof job.packed, NULL), TR_OK);
        assert_true(launch_all(&job, 10)); /* warms up */
        int status = 0;
        pid_t child = fork();
        if (!child) end(launch_quietly(&job));
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFSIGNALED(status)) fail_msg("kind %zu made a system call", i);
        if (status)
            fail_msg(
                "kind %zu: %s", i,
                (const char *[]){"", "failed", "locked", "allocated", "seccomp"}[WEXITSTATUS(status) % 5]);
        tr_kernel_destroy(job.kernel);
    }
    assert_int_equal(tr_device_free(runner, memory, NULL), TR_OK);
    tr_runner_destroy(runner);
    cuStreamDestroy_v2(stream);
    cuCtxDestroy_v2(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quiet)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
