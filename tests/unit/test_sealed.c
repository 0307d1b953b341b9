/* A sealed runner: what would compile, start a process, read the disk or load a module is refused, by name, and every
   public call is made under a system call filter that traps whatever opens, looks at, starts or connects anything. */
#include "launch.h"
#include "stub.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(TR_COVERAGE)
/* A sanitizer looks around in the process when it ends, and what counts lines writes its files; the statuses are tested
   all the same. */
enum { FILTERED = false };
#else
enum { FILTERED = true };
#endif
static volatile sig_atomic_t trapped, which;

static void on_trap(int number, siginfo_t *info, void *context) {
    trapped++;
    which = info->si_syscall;
}

/* From here on, in this thread, for ever: these calls fail, and are counted. */
static bool filter(void) {
    static const int forbidden[] = {
#ifdef SYS_open
        SYS_open,       SYS_stat,       SYS_lstat,      SYS_access,  SYS_readlink,
        SYS_fork,       SYS_vfork,
#endif
        SYS_openat,     SYS_openat2,    SYS_newfstatat, SYS_statx,   SYS_faccessat,
        SYS_readlinkat, SYS_getdents64, SYS_clone,      SYS_clone3,  SYS_execve,
        SYS_execveat,   SYS_socket,     SYS_socketpair, SYS_connect, SYS_memfd_create};
    enum { COUNT = sizeof forbidden / sizeof *forbidden };
    struct sock_filter program[COUNT + 3];
    int at = 0;
    program[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < COUNT; i++) /* to the last one, which traps */
        program[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)forbidden[i],
                                                     (unsigned char)(COUNT - i), 0);
    program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog all = {(unsigned short)at, program};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    return !sigaction(SIGSYS, &action, NULL) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
           !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all);
}

static void check_trap(const char *call) {
    if (trapped) fail_msg("%s made system call %d", call, (int)which);
}

#define works(call)                                                                                          \
    do {                                                                                                     \
        tr_error *told = NULL;                                                                               \
        tr_status got = call;                                                                                \
        check_trap(#call);                                                                                   \
        if (got) fail_msg("%s: %s: %s", #call, tr_status_name(got), tr_error_message(told));                 \
    } while (0)

#define refused(call, words)                                                                                 \
    do {                                                                                                     \
        tr_error *told = NULL;                                                                               \
        assert_int_equal(call, TR_E_SEALED);                                                                 \
        check_trap(#call);                                                                                   \
        if (!strstr(tr_error_message(told), words))                                                          \
            fail_msg("'%s' lacks '%s'", tr_error_message(told), words);                                      \
        tr_error_destroy(told);                                                                              \
    } while (0)

static const char ptx[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry waiting()\n{\nret;\n}\n";
static const char python[] = "import triton\n@triton.jit\ndef snake(x):\n    pass\n";
static const char metadata[] = "{\"num_warps\": 4, \"shared\": 0}";

static char folder[] = "/tmp/tr-test-sealed-XXXXXX"; /* of the cache; nothing is ever put there */

static tr_program *load(tr_runner *runner, tr_stage stage, const char *text) {
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program;
    options.data = text, options.size = strlen(text);
    if (stage == TR_STAGE_PYTHON)
        options.kernel = "snake", options.signature = "*fp32";
    else
        options.metadata = metadata;
    works(tr_load_stage(runner, stage, NULL, &options, &program, &told));
    return program;
}

static tr_runner *make_runner(void) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *runner;
    options.cache_dir = folder;
    works(tr_runner_create(&options, &runner, &told));
    return runner;
}

static void what_was_made_before_works(tr_runner *runner, tr_program *program, tr_kernel *kernel,
                                       tr_plan *plan) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    const tr_arg args[] = {tr_arg_ptr(0x1000), tr_arg_i32(7)};
    const uint32_t grid[] = {1, 1, 1};
    tr_param_info info = TR_PARAM_INFO_INIT;
    tr_kernel *second;
    tr_program *same;
    char buffer[256], *json;
    int64_t value;
    size_t bytes;
    void *function;
    uint64_t memory;
    uint32_t entry;
    works(tr_launch(kernel, &config, args, 2, &told));
    works(tr_kernel_pack(kernel, args, 2, buffer, sizeof buffer, &told));
    works(tr_kernel_attribute(kernel, TR_ATTRIBUTE_PACKED_SIZE, &value, &told));
    works(tr_launch_packed(kernel, &config, buffer, (size_t)value, &told));
    for (tr_attribute which = TR_ATTRIBUTE_NUM_WARPS; which <= TR_ATTRIBUTE_PACKED_SIZE; which++)
        works(tr_kernel_attribute(kernel, which, &value, &told));
    works(tr_kernel_function(kernel, &function, &told));
    works(tr_kernel_workspace(kernel, grid, &bytes, NULL, &told));
    assert_int_equal(tr_kernel_param(kernel, 0, &info), TR_OK);
    works(tr_kernel_load(kernel, &told));
    works(tr_kernel_create(program, &second, &told)); /* its module is loaded */
    tr_kernel_destroy(second);
    works(tr_compile_to(program, TR_STAGE_CUBIN, NULL, &same, &told));
    works(tr_program_at(program, TR_STAGE_CUBIN, &same, &told));
    tr_program_destroy(same);
    tr_program_destroy(same);
    works(tr_device_alloc(runner, 64, &memory, &told));
    works(tr_device_write(runner, memory, buffer, 64, &told));
    works(tr_device_read(runner, buffer, memory, 64, &told));
    works(tr_device_synchronize(runner, &told));
    works(tr_device_free(runner, memory, &told));
    works(tr_plan_add(plan, kernel, &config, args, 2, NULL, 0, &entry, &told));
    works(tr_plan_set(plan, entry, grid, args, 2, &told));
    works(tr_plan_launch(plan, NULL, &told));
    works(tr_runner_report(runner, TR_REPORT_COUNTERS, &json, &told));
    tr_free(json);
}

static void what_is_new_is_refused(tr_runner *runner, tr_program *other) {
    tr_compile_options how = TR_COMPILE_OPTIONS_INIT;
    tr_program *program = load(runner, TR_STAGE_PTX, ptx), *snake = load(runner, TR_STAGE_PYTHON, python),
               *out;
    tr_kernel *kernel;
    char *json;
    uint64_t affected;
    how.arch = "sm_90";
    refused(tr_load_stage(runner, TR_STAGE_AUTO, "/etc/hostname", NULL, &out, &told), "/etc/hostname");
    refused(tr_compile_to(program, TR_STAGE_CUBIN, &how, &out, &told), "cubin of kernel 'waiting' for sm_90");
    refused(tr_compile_to(snake, TR_STAGE_TTIR, &how, &out, &told), "'snake'");
    how.flags = TR_COMPILE_NO_CACHE;
    refused(tr_compile_to(program, TR_STAGE_CUBIN, &how, &out, &told), "'waiting'");
    refused(tr_kernel_create(program, &kernel, &told), "'waiting'");
    refused(tr_kernel_create(other, &kernel, &told), "'other'"); /* compiled, but not loaded */
    refused(tr_runner_report(runner, TR_REPORT_DOCTOR, &json, &told), "sealed");
    refused(tr_runner_report(runner, TR_REPORT_CACHE, &json, &told), "sealed");
    for (tr_cache_action action = TR_CACHE_VERIFY; action <= TR_CACHE_CLEAR; action++)
        refused(tr_runner_cache(runner, action, 0, &affected, &told), "sealed");
    tr_program_destroy(program);
    tr_program_destroy(snake);
}

static void nothing_was_opened(tr_runner *runner) {
    tr_program *program = load(runner, TR_STAGE_PTX, ptx), *out;
    tr_kernel *kernel;
    tr_plan *plan;
    uint64_t memory;
    refused(tr_compile_to(program, TR_STAGE_CUBIN, NULL, &out, &told), "sealed");
    refused(tr_kernel_create(program, &kernel, &told), "sealed");
    refused(tr_device_alloc(runner, 64, &memory, &told), "driver");
    refused(tr_device_synchronize(runner, &told), "driver");
    refused(tr_plan_create(runner, &plan, &told), "driver");
    tr_program_destroy(program);
}

/* One test: the filter stays. */
static void nothing_is_touched(void **state) {
    tr_runner *runner = make_runner(), *fresh = make_runner();
    tr_program *program = make_program(runner, "served", "*fp32:16, i32", NULL);
    tr_program *other = make_program(runner, "other", "*fp32:16, i32", NULL);
    tr_kernel *kernel;
    tr_plan *plan;
    CUcontext second;
    char *json;
    works(tr_kernel_create(program, &kernel, &told));
    works(tr_kernel_load(kernel, &told));
    works(tr_plan_create(runner, &plan, &told));
    works(tr_runner_report(runner, TR_REPORT_CACHE, &json, &told)); /* makes the cache's part */
    tr_free(json);
    assert_int_equal(cuCtxCreate_v2(&second, 0, 1), CUDA_SUCCESS);
    cuCtxPopCurrent_v2(&second);
    works(tr_runner_seal(runner, &told));
    works(tr_runner_seal(fresh, &told));
    if (FILTERED && !filter()) skip();
    what_was_made_before_works(runner, program, kernel, plan);
    what_is_new_is_refused(runner, other);
    nothing_was_opened(fresh);
    const tr_arg args[] = {tr_arg_ptr(0x1000), tr_arg_i32(7)};
    cuCtxPushCurrent_v2(second);
    refused(tr_launch(kernel, NULL, args, 2, &told), "'served'");
    refused(tr_kernel_load(kernel, &told), "'served'");
    cuCtxPopCurrent_v2(&second);
    assert_int_equal(cuCtxDestroy_v2(second), CUDA_SUCCESS);
    tr_plan_destroy(plan);
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_program_destroy(other);
    tr_runner_destroy(runner);
    tr_runner_destroy(fresh);
    check_trap("destroying");
    syscall(SYS_openat, -1, "/etc/hostname", 0);
    assert_int_equal(trapped, FILTERED); /* the filter does see it */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_touched)};
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
