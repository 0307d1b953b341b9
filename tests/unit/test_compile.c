/* tr_compile_to where no Triton is needed: llir → ptx by LLVM. The chain of programs, the cache, sealing, threads. */
#include "triton_runner.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define SOURCE TR_SOURCE_DIR "/examples/kernels/stages/sm_89/softmax.llir"

static char folder[] = "/tmp/test_compile.XXXXXX";
static const tr_compile_options by_llvm = {.struct_size = sizeof by_llvm, .llvm = "llvm"};

static bool has_llvm; /* built with the plugin */

static int setup(void **state) {
    has_llvm = !access(TR_BINARY_DIR "/libexec/libtriton_runner_llvm.so", F_OK);
    return !mkdtemp(folder);
}

static int teardown(void **state) {
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static tr_runner *make_runner(void) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *runner;
    options.cache_dir = folder;
    assert_int_equal(tr_runner_create(&options, &runner, NULL), TR_OK);
    return runner;
}

static tr_program *load(tr_runner *runner) {
    tr_program *program;
    tr_error *error;
    if (tr_load_stage(runner, TR_STAGE_AUTO, SOURCE, NULL, &program, &error))
        fail_msg("%s", tr_error_message(error));
    return program;
}

static tr_program *compile(tr_program *from, const tr_compile_options *options) {
    tr_program *program;
    tr_error *error;
    tr_status status = tr_compile_to(from, TR_STAGE_PTX, options, &program, &error);
    if (status) fail_msg("%s", tr_error_message(error));
    return program;
}

static long counted(tr_runner *runner, const char *key) {
    char *json;
    assert_int_equal(tr_runner_report(runner, TR_REPORT_COUNTERS, &json, NULL), TR_OK);
    const char *at = strstr(json, key);
    assert_non_null(at);
    long value = strtol(at + strlen(key) + 2, NULL, 10);
    tr_free(json);
    return value;
}

static void makes_a_chain(void **state) {
    if (!has_llvm) skip();
    tr_runner *runner = make_runner();
    tr_program *llir = load(runner), *ptx = compile(llir, &by_llvm), *at;
    assert_int_equal(tr_program_stage(ptx), TR_STAGE_PTX);
    assert_string_equal(tr_program_kernel(ptx), "softmax");
    const char *json = tr_program_metadata(ptx);
    assert_non_null(strstr(json, "\"made_by\":{\"ptx\":\"llvm "));
    assert_non_null(strstr(json, "\"shared\":16,"));
    assert_non_null(strstr(json, "\"hidden\":[\"global_scratch\"]"));
    assert_int_equal(tr_program_at(ptx, TR_STAGE_LLIR, &at, NULL), TR_OK);
    assert_ptr_equal(at, llir);
    tr_program_destroy(llir); /* in any order */
    tr_runner_destroy(runner);
    tr_program_destroy(at);
    tr_program_destroy(ptx);
}

static void finds_again_what_it_made(void **state) {
    if (!has_llvm) skip();
    tr_runner *runner = make_runner();
    tr_program *llir = load(runner), *first = compile(llir, &by_llvm), *second = compile(llir, &by_llvm);
    assert_int_equal(counted(runner, "\"compiled\""), 0); /* the test before left it on disk */
    tr_compile_options fresh = by_llvm;
    fresh.flags = TR_COMPILE_NO_CACHE;
    tr_program *third = compile(llir, &fresh);
    assert_int_equal(counted(runner, "\"compiled\""), 1);
    const void *a, *b;
    size_t a_size, b_size;
    tr_program_bytes(first, &a, &a_size);
    tr_program_bytes(third, &b, &b_size);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size);
    assert_string_equal(tr_program_metadata(first), tr_program_metadata(third));
    tr_compile_options other = by_llvm;
    other.options = "{\"enable_fp_fusion\": false}";
    tr_program_destroy(third);
    third = compile(llir, &other);
    assert_int_equal(counted(runner, "\"compiled\""), 2);
    assert_non_null(strstr(tr_program_metadata(third), "\"enable_fp_fusion\":false"));
    assert_int_equal(tr_runner_seal(runner, NULL), TR_OK);
    tr_program_destroy(third);
    third = compile(llir, &other); /* from memory */
    other.arch = "sm_90";
    tr_program *none;
    assert_int_equal(tr_compile_to(llir, TR_STAGE_PTX, &other, &none, NULL), TR_E_SEALED);
    assert_null(none);
    tr_program_destroy(first);
    tr_program_destroy(second);
    tr_program_destroy(third);
    tr_program_destroy(llir);
    tr_runner_destroy(runner);
}

/* After the test before, which left two results on disk. */
static void keeps_the_cache_in_order(void **state) {
    if (!has_llvm) skip();
    tr_runner *runner = make_runner();
    tr_error *error = NULL;
    uint64_t affected = 7;
    char *json;
    assert_int_equal(tr_runner_cache(NULL, TR_CACHE_VERIFY, 0, &affected, &error), TR_E_INVALID_ARGUMENT);
    assert_int_equal(affected, 0);
    tr_error_destroy(error);
    affected = 7;
    assert_int_equal(tr_runner_cache(runner, 9, 0, &affected, &error), TR_E_INVALID_ARGUMENT);
    assert_string_equal(tr_error_message(error), "tr_runner_cache: 9 is no action");
    assert_int_equal(affected, 0);
    tr_error_destroy(error);
    assert_int_equal(tr_runner_cache(runner, TR_CACHE_VERIFY, 0, &affected, &error), TR_OK);
    assert_null(error);
    assert_int_equal(affected, 0);
    assert_int_equal(tr_runner_cache(runner, TR_CACHE_PRUNE, 1 << 30, &affected, NULL), TR_OK);
    assert_int_equal(affected, 0);
    assert_int_equal(tr_runner_report(runner, TR_REPORT_CACHE, &json, NULL), TR_OK);
    assert_non_null(strstr(json, "\"usable\": true"));
    tr_free(json);
    assert_int_equal(tr_runner_cache(runner, TR_CACHE_CLEAR, 0, &affected, NULL), TR_OK);
    assert_int_equal(affected, 2);
    assert_int_equal(tr_runner_cache(runner, TR_CACHE_CLEAR, 0, NULL, NULL), TR_OK);
    tr_program *llir = load(runner), *again = compile(llir, &by_llvm);
    assert_int_equal(counted(runner, "\"compiled\""), 1); /* it is gone */
    assert_int_equal(tr_runner_report(runner, 9, &json, NULL), TR_E_INVALID_ARGUMENT);
    assert_null(json);
    tr_program_destroy(again);
    tr_program_destroy(llir);
    tr_runner_destroy(runner);
}

static int32_t cancel(void *user, tr_stage reached, double seconds) {
    return 1;
}

static void can_be_cancelled(void **state) {
    if (!has_llvm) skip();
    tr_runner *runner = make_runner();
    tr_program *llir = load(runner), *out;
    tr_compile_options options = by_llvm;
    options.flags = TR_COMPILE_NO_CACHE;
    options.progress = cancel;
    tr_status status = tr_compile_to(llir, TR_STAGE_PTX, &options, &out, NULL);
    assert_true(status == TR_E_CANCELLED || status == TR_E_COMPILER_MISSING);
    assert_null(out);
    options.progress = NULL;
    if (status == TR_E_CANCELLED) tr_program_destroy(compile(llir, &options)); /* and the next one works */
    tr_program_destroy(llir);
    tr_runner_destroy(runner);
}

typedef struct told {
    int stages;
    tr_stage reached;
    double seconds;
} told;

static int32_t listen(void *user, tr_stage reached, double seconds) {
    told *told = user;
    if (seconds > 0) {
        told->stages++;
        told->reached = reached;
        told->seconds = seconds;
    }
    return 0;
}

/* Once for the stage, with the time it took; in between with 0. */
static void tells_of_each_stage(void **state) {
    if (!has_llvm) skip();
    tr_runner *runner = make_runner();
    tr_program *llir = load(runner);
    tr_compile_options options = by_llvm;
    options.progress = listen;
    for (int in_process = 0; in_process < 2; in_process++) {
        told told = {0};
        options.flags = TR_COMPILE_NO_CACHE | (in_process ? TR_COMPILE_IN_PROCESS : 0u);
        options.progress_user = &told;
        tr_program_destroy(compile(llir, &options));
        assert_int_equal(told.stages, 1);
        assert_int_equal(told.reached, TR_STAGE_PTX);
        assert_true(told.seconds < 60);
    }
    tr_program_destroy(llir);
    tr_runner_destroy(runner);
}

static void *compile_in_thread(void *llir) {
    tr_program *out = NULL;
    tr_compile_options options = by_llvm;
    options.arch = "sm_80";
    tr_status status = tr_compile_to(llir, TR_STAGE_PTX, &options, &out, NULL);
    tr_program_destroy(out);
    return (void *)(intptr_t)status;
}

static void compiles_once_for_many_threads(void **state) {
    pthread_t threads[8];
    tr_runner *runner = make_runner();
    tr_program *llir = load(runner);
    void *status;
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, compile_in_thread, llir), 0);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], &status);
        assert_true((intptr_t)status == TR_OK || (intptr_t)status == TR_E_COMPILER_MISSING);
    }
    if ((intptr_t)status == TR_OK) assert_int_equal(counted(runner, "\"compiled\""), 1);
    tr_program_destroy(llir);
    tr_runner_destroy(runner);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_a_chain),
        cmocka_unit_test(finds_again_what_it_made),
        cmocka_unit_test(keeps_the_cache_in_order),
        cmocka_unit_test(can_be_cancelled),
        cmocka_unit_test(tells_of_each_stage),
        cmocka_unit_test(compiles_once_for_many_threads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
