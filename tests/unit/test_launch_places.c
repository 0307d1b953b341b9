/* Where a kernel is loaded when it is launched, and what is kept for how long: contexts, modules, scratch, graphs. */
#include "launch_fixture.h"
#include "stub.h"

/* ---- contexts ---- */

static void test_contexts(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "nop", "", NULL);
    const stub_launch *launch = stub_last_launch();
    tr_error *error;
    CUcontext other, primary, popped;
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    primary = launch->context;
    assert_non_null(primary);
    assert_int_equal(cuCtxGetCurrent(&popped), 0);
    assert_null(popped);

    assert_int_equal(cuCtxCreate_v2(&other, 0, 1), 0);
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    assert_ptr_equal(launch->context, other);
    assert_int_equal(stub_alive(STUB_MODULE), 2);
    unsigned long loads = stub_calls("cuModuleLoadDataEx");
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    ok(tr_kernel_load(kernel, &error), error);
    assert_int_equal(stub_calls("cuModuleLoadDataEx"), loads);
    assert_int_equal(cuCtxGetCurrent(&popped), 0);
    assert_ptr_equal(popped, other);
    cuCtxPopCurrent_v2(&popped);
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    assert_ptr_equal(launch->context, primary);

    /* A context of the same address as one that is gone gets its own module. */
    cuCtxDestroy_v2(other);
    for (int i = 0; i < 20; i++) {
        loads = stub_calls("cuModuleLoadDataEx");
        assert_int_equal(cuCtxCreate_v2(&other, 0, 1), 0);
        ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
        assert_int_equal(stub_calls("cuModuleLoadDataEx"), loads + 1);
        cuCtxDestroy_v2(other);
    }
    unsigned long unloads = stub_calls("cuModuleUnload");
    tr_kernel_destroy(kernel);
    assert_int_equal(stub_calls("cuModuleUnload") - unloads, 1); /* the others went with their contexts */
    tr_runner_destroy(f->runner);
    f->runner = NULL;
    assert_int_equal(stub_alive(STUB_MODULE), 21);
    stub_reset();
    end(f);
}

static void test_one_module_for_two_kernels(void **state) {
    fixture *f = *state;
    tr_program *program = make_program(f->runner, "twice", "i32", NULL);
    tr_kernel *kernels[2];
    for (int i = 0; i < 2; i++) assert_int_equal(tr_kernel_create(program, &kernels[i], NULL), TR_OK);
    tr_program_destroy(program);
    assert_int_equal(stub_alive(STUB_MODULE), 1);
    tr_kernel_destroy(kernels[0]);
    assert_int_equal(stub_alive(STUB_MODULE), 1);
    tr_kernel_destroy(kernels[1]);
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    end(f);
}

static void test_seal(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "sealed", "", NULL), *again, *never;
    tr_program *same = make_program(f->runner, "sealed", "", NULL),
               *new = make_program(f->runner, "new", "", NULL);
    tr_error *error;
    CUcontext other;
    ok(tr_runner_seal(f->runner, &error), error);
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    ok(tr_kernel_create(same, &again, &error), error); /* its module is there */
    assert_int_equal(tr_kernel_create(new, &never, &error), TR_E_SEALED);
    assert_null(never);
    assert_non_null(strstr(tr_error_message(error), "kernel 'new' is not loaded"));
    tr_error_destroy(error);
    assert_int_equal(cuCtxCreate_v2(&other, 0, 1), 0);
    assert_int_equal(tr_launch(kernel, NULL, NULL, 0, &error), TR_E_SEALED);
    tr_error_destroy(error);
    assert_int_equal(tr_kernel_load(kernel, &error), TR_E_SEALED);
    tr_error_destroy(error);
    cuCtxDestroy_v2(other);
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    tr_program_destroy(same);
    tr_program_destroy(new);
    tr_kernel_destroy(again);
    tr_kernel_destroy(kernel);
    end(f);
}

/* ---- scratch and graphs ---- */

static void as_scratching(tr__record *record) {
    record->global_scratch = (tr__scratch){384, 128};
    record->profile_scratch = (tr__scratch){100, 512};
    record->num_ctas = 2;
}

static uint64_t hidden(int index) {
    uint64_t value;
    memcpy(&value, stub_last_launch()->buffer + 8 + 8 * index, 8);
    return value;
}

static void test_scratch(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "scratching", "i32", as_scratching);
    tr_launch_config config = grid(3, 2, 1);
    tr_arg arg = tr_arg_i32(9);
    tr_error *error;
    size_t bytes, alignment;
    CUstream stream;
    ok(tr_kernel_workspace(kernel, config.grid, &bytes, &alignment, &error), error);
    assert_int_equal(alignment, 512);
    assert_int_equal(bytes, (12 * 384 + 511) / 512 * 512 + 12 * 100);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    uint64_t global = hidden(0), profile = hidden(1);
    assert_true(global && global % 512 == 0 && profile == global + (12 * 384 + 511) / 512 * 512);
    unsigned long allocations = stub_calls("cuMemAlloc");
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_true(hidden(0) == global && stub_calls("cuMemAlloc") == allocations);

    CUcontext primary = stub_last_launch()->context;
    cuCtxPushCurrent_v2(primary);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    config.stream = stream;
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_true(hidden(0) != global); /* two streams never share */

    config.flags = TR_LAUNCH_WORKSPACE;
    config.workspace = 0x10200, config.workspace_size = bytes;
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_true(hidden(0) == 0x10200 && hidden(1) == 0x10200 + (12 * 384 + 511) / 512 * 512);
    config.workspace_size--;
    assert_int_equal(tr_launch(kernel, &config, &arg, 1, &error), TR_E_RESOURCE);
    tr_error_destroy(error);
    config.workspace_size++, config.workspace = 0x10208;
    assert_int_equal(tr_launch(kernel, &config, &arg, 1, &error), TR_E_RESOURCE);
    tr_error_destroy(error);
    cuStreamDestroy_v2(stream);
    cuCtxPopCurrent_v2(&primary);
    tr_kernel_destroy(kernel);
    end(f);
}

static void test_capture(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "captured", "i32", as_scratching);
    tr_kernel *stranger = make_kernel(f->runner, "stranger", "i32", NULL);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_arg arg = tr_arg_i32(9);
    tr_error *error;
    CUcontext context;
    CUstream stream;
    CUgraph graph;
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    config.stream = stream;
    ok(tr_kernel_load(kernel, &error), error);
    assert_int_equal(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    uint64_t scratch = hidden(0);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_int_equal(stub_alive(STUB_USER_OBJECT), 2); /* the module, once, and the scratch, once */
    assert_true(hidden(0) == scratch);
    assert_int_equal(tr_launch(stranger, &config, &arg, 1, &error), TR_E_INVALID_ARGUMENT);
    assert_non_null(strstr(tr_error_message(error), "call tr_kernel_load before the capture begins"));
    tr_error_destroy(error);
    assert_int_equal(cuStreamEndCapture(stream, &graph), 0);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_true(hidden(0) != scratch);

    long modules = stub_alive(STUB_MODULE);
    tr_kernel_destroy(kernel);                              /* the graph goes on */
    assert_int_equal(stub_alive(STUB_MODULE), modules - 1); /* that of the runner's own context */
    cuGraphDestroy(graph);
    assert_int_equal(stub_alive(STUB_MODULE), modules - 1);
    tr_kernel_destroy(stranger); /* any call that may use the driver releases what graphs kept */
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    cuStreamDestroy_v2(stream);
    tr_runner_destroy(f->runner);
    f->runner = NULL;
    cuCtxDestroy_v2(context);
    end(f);
}

/* From a new runner to a launch, in a graph too; what fails must say so, and leave nothing behind. */
static unsigned long until_destroyed; /* calls before the end began, which has no one to tell */

static tr_status live(tr_error **error) {
    tr_runner *runner;
    tr_kernel *kernel = NULL;
    tr_launch_config config = grid(2, 1, 1);
    tr_arg arg = tr_arg_i32(1);
    uint64_t ptr = 0;
    if (tr_runner_create(NULL, &runner, NULL)) return TR_E_OUT_OF_MEMORY;
    tr_program *program = make_program(runner, "living", "i32", as_scratching);
    tr_status status = tr_kernel_create(program, &kernel, error);
    if (!status) status = tr_launch(kernel, &config, &arg, 1, error);
    if (!status) status = tr_device_alloc(runner, 64, &ptr, error);
    if (!status) status = tr_device_synchronize(runner, error);
    if (!status)
        status = tr_device_free(runner, ptr, error);
    else
        tr_device_free(runner, ptr, NULL);
    until_destroyed = stub_calls(NULL);
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    tr__settle();
    return status;
}

/* Calls whose failure has no one to tell, or that fail again, and then are told, at the launch. */
static bool is_silent(const char *call) {
    static const char *const silent[] = {"cuCtxPopCurrent",     "cuModuleUnload",
                                         "cuMemFree",           "cuCtxGetId",
                                         "cuStreamIsCapturing", "cuThreadExchangeStreamCaptureMode",
                                         "cuStreamGetId",       "cuDevicePrimaryCtxRelease",
                                         "cuGetErrorName",      "cuGetErrorString"};
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
        if (!strcmp(call, silent[i])) return true;
    return false;
}

/* The n-th word. */
static void word(const char *text, unsigned long n, char out[64]) {
    while (--n && text) text = strchr(text, ' ') ? strchr(text, ' ') + 1 : NULL;
    snprintf(out, 64, "%.*s", text ? (int)strcspn(text, " ") : 0, text ? text : "");
}

static void test_each_call_fails(void **state) {
    tr_error *error = NULL;
    unsigned long n = 1, told = 0;
    char failing[64], next[64];
    end(*state);
    stub_reset();
    stub_record(true);
    assert_int_equal(live(&error), TR_OK);
    char *calls = strdup(stub_recorded());
    for (unsigned long last = until_destroyed; n <= last; n++) {
        CUcontext left;
        word(calls, n, failing);
        word(calls, n + 1, next);
        bool is_asked_again = !strcmp(failing, "cuCtxGetCurrent") && !strcmp(failing, next);
        stub_reset();
        stub_fail(NULL, n, CUDA_ERROR_UNKNOWN, false);
        error = NULL;
        tr_status status = live(&error);
        tr_error_destroy(error);
        assert_true(stub_failed());
        if (!status && !is_silent(failing) && !is_asked_again)
            fail_msg("call %lu, %s, failed, and nobody said so", n, failing);
        told += status != TR_OK;
        while (!cuCtxPopCurrent_v2(&left))
            ;
        stub_reset();
        error = NULL;
        if (live(&error)) fail_msg("after call %lu, %s, failed: %s", n, failing, tr_error_message(error));
        assert_int_equal(stub_alive(STUB_KINDS), 0);
    }
    print_message("%lu calls, of which %lu failures are told\n", n - 1, told);
    assert_true(n > 40);
    free(calls);
    stub_reset();
}

/* A stream that the driver does not want to be asked about: nothing is loaded for the launch, and it says so. */
static void test_stream_that_cannot_be_asked(void **state) {
    fixture *f = *state;
    CUcontext context;
    CUstream stream;
    tr_error *error;
    tr_kernel *kernel = make_kernel(f->runner, "asked", "i32", NULL);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_arg arg = tr_arg_i32(1);
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0); /* the kernel is not loaded there */
    assert_int_equal(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), 0);
    config.stream = stream;
    unsigned long loads = stub_calls("cuModuleLoadDataEx");
    stub_fail("cuStreamIsCapturing", 1, CUDA_ERROR_INVALID_HANDLE, false);
    assert_int_equal(tr_launch(kernel, &config, &arg, 1, &error), TR_E_DRIVER);
    assert_non_null(strstr(tr_error_message(error), "launching asked failed with CUDA_ERROR_INVALID_HANDLE"));
    tr_error_destroy(error);
    assert_int_equal(stub_calls("cuModuleLoadDataEx"), loads);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_int_equal(stub_calls("cuModuleLoadDataEx"), loads + 1);
    cuStreamDestroy_v2(stream);
    tr_kernel_destroy(kernel);
    cuCtxDestroy_v2(context);
    end(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_contexts, begin),
        cmocka_unit_test_setup(test_one_module_for_two_kernels, begin),
        cmocka_unit_test_setup(test_seal, begin),
        cmocka_unit_test_setup(test_scratch, begin),
        cmocka_unit_test_setup(test_capture, begin),
        cmocka_unit_test_setup(test_each_call_fails, begin),
        cmocka_unit_test_setup(test_stream_that_cannot_be_asked, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
