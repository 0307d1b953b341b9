/* The driver: which one is opened, which context is used, what its refusals become. */
#include "driver/driver.h"
#include "stub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CUDA_FUNCTION(name, symbol, since, params) CUresult symbol params;
#include "driver/cuda_symbols.inc"

static int begin(void **state) {
    stub_reset();
    unsetenv("TRITON_RUNNER_LIBCUDA");
    return 0;
}

static tr__driver *open_driver(const char *device) {
    tr__driver *driver;
    tr_error *error = NULL;
    if (tr__driver_open(device, "/nowhere/cpu.so", &driver, &error)) fail_msg("%s", tr_error_message(error));
    return driver;
}

static void refuse(const char *device, tr_status status, const char *words) {
    tr__driver *driver;
    tr_error *error = NULL;
    assert_int_equal(tr__driver_open(device, "/nowhere/cpu.so", &driver, &error), status);
    assert_null(driver);
    if (!strstr(tr_error_message(error), words)) fail_msg("'%s' lacks '%s'", tr_error_message(error), words);
    tr_error_destroy(error);
}

static void test_choice(void **state) {
    const char *devices[] = {NULL, "cuda", "cuda:0", "auto", "cuda:1"};
    for (int i = 0; i < 5; i++) {
        tr__driver *driver = open_driver(devices[i]);
        assert_int_equal(driver->device, i / 4);
        assert_false(driver->cpu);
        assert_int_equal(driver->version, 13000);
        tr__driver_close(driver);
    }
    refuse("cuda:2", TR_E_INVALID_ARGUMENT, "device 2 was asked for, but there are only 2");
    refuse("cuda:", TR_E_INVALID_ARGUMENT, "no device number");
    refuse("cuda:-1", TR_E_INVALID_ARGUMENT, "no device number");
    refuse("cuda:0x1", TR_E_INVALID_ARGUMENT, "no device number");
    refuse("cuda:99999999999999999999", TR_E_INVALID_ARGUMENT, "no device number");
    refuse("tpu", TR_E_INVALID_ARGUMENT, "device \"tpu\" is none of");
    refuse("cpu", TR_E_DRIVER_MISSING, "the CPU device cannot be opened: /nowhere/cpu.so");
}

static void test_no_gpu(void **state) {
    stub_set_device_count(0);
    refuse("cuda", TR_E_DRIVER_MISSING, "there, but no GPU");
    refuse("auto", TR_E_DRIVER_MISSING, "the CPU device cannot be opened");
    stub_reset();
    stub_fail("cuInit", 1, CUDA_ERROR_NO_DEVICE, true);
    refuse("cuda", TR_E_DRIVER_MISSING, "ask for device \"cpu\"");
    stub_reset();
    stub_fail("cuInit", 1, CUDA_ERROR_STUB_LIBRARY, true);
    refuse("cuda", TR_E_DRIVER_MISSING, "CUDA_ERROR_STUB_LIBRARY (34)");
    stub_reset();
    stub_fail("cuInit", 1, CUDA_ERROR_UNKNOWN, true);
    refuse("cuda", TR_E_DRIVER, "CUDA_ERROR_UNKNOWN (999)");
    stub_reset();
    setenv("TRITON_RUNNER_LIBCUDA", "/nowhere/libcuda.so.1", 1);
    refuse("cuda", TR_E_DRIVER_MISSING, "no CUDA driver: /nowhere/libcuda.so.1");
    setenv("TRITON_RUNNER_LIBCUDA", "libm.so.6", 1);
    refuse("cuda", TR_E_DRIVER_MISSING, "too old: it lacks cuInit");
}

static void test_contexts(void **state) {
    tr__driver *driver = open_driver("cuda:1");
    tr__scope scope;
    CUcontext current, own;
    assert_int_equal(stub_alive(STUB_PRIMARY), 0); /* not before it is needed */
    assert_int_equal(tr__driver_current(driver), 0);
    assert_int_equal(tr__driver_enter(driver, &scope, NULL), TR_OK);
    assert_int_equal(stub_alive(STUB_PRIMARY), 1);
    uint64_t primary = tr__driver_current(driver);
    assert_true(primary && scope.context.id == primary);
    tr__driver_leave(driver, &scope);
    assert_int_equal(driver->cuCtxGetCurrent(&current), 0);
    assert_null(current);
    assert_int_equal(tr__driver_enter(driver, &scope, NULL), TR_OK);
    tr__driver_leave(driver, &scope);
    assert_int_equal(stub_alive(STUB_PRIMARY), 1); /* retained once */

    assert_int_equal(cuCtxCreate_v2(&own, 0, 0), 0);
    unsigned long pushes = stub_calls("cuCtxPushCurrent");
    assert_int_equal(tr__driver_enter(driver, &scope, NULL), TR_OK);
    assert_ptr_equal(scope.context.handle, own);
    tr__context remembered = scope.context;
    tr__driver_leave(driver, &scope);
    assert_int_equal(stub_calls("cuCtxPushCurrent"), pushes);
    assert_int_equal(driver->cuCtxGetCurrent(&current), 0);
    assert_ptr_equal(current, own);

    assert_true(tr__driver_enter_context(driver, remembered, &scope));
    tr__driver_leave(driver, &scope);
    assert_int_equal(cuCtxPopCurrent_v2(&current), 0);
    pushes = stub_calls("cuCtxPushCurrent");
    assert_false(tr__driver_enter_context(driver, remembered, &scope)); /* who knows whether it still is? */
    assert_int_equal(stub_calls("cuCtxPushCurrent"), pushes);
    assert_int_equal(tr__driver_current(driver), 0);
    cuCtxDestroy_v2(own);

    remembered = (tr__context){driver->primary, primary};
    assert_true(tr__driver_enter_context(driver, remembered, &scope));
    assert_int_equal(tr__driver_current(driver), primary);
    tr__driver_leave(driver, &scope);
    remembered.id++; /* as if reset and retained again */
    assert_false(tr__driver_enter_context(driver, remembered, &scope));
    assert_int_equal(tr__driver_current(driver), 0);
    tr__driver_close(driver);
    assert_int_equal(stub_alive(STUB_PRIMARY), 0);
}

/* A fault breaks the primary context, and with it the process: each call says so, also those of a new runner. */
static void test_broken(void **state) {
    tr__driver *driver = open_driver("cuda"), *second = open_driver("cuda");
    tr__scope scope;
    tr_error *error;
    assert_int_equal(tr__driver_enter(second, &scope, NULL), TR_OK);
    tr__driver_leave(second, &scope);
    assert_int_equal(tr__driver_enter(driver, &scope, NULL), TR_OK);
    stub_break_context(CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(tr__driver_fail(driver, cuCtxSynchronize(), "cuCtxSynchronize", NULL), TR_E_DRIVER);
    tr__driver_leave(driver, &scope);
    for (int i = 0; i < 2; i++) {
        error = NULL;
        assert_int_equal(tr__driver_enter(i ? second : driver, &scope, &error), TR_E_STICKY);
        assert_non_null(strstr(tr_error_message(error), "CUDA_ERROR_ILLEGAL_ADDRESS (700)"));
        tr_error_destroy(error);
        assert_int_equal(tr__driver_current(driver), 0);
    }
    tr__driver_close(driver);
    tr__driver_close(second);
    assert_int_equal(stub_alive(STUB_PRIMARY), 0);
    driver = open_driver("cuda");
    error = NULL;
    assert_int_equal(tr__driver_enter(driver, &scope, &error), TR_E_STICKY);
    assert_non_null(strstr(tr_error_message(error), "the driver does no more work in this process"));
    tr_error_destroy(error);
    tr__driver_close(driver);
}

/* Somebody resets the primary context while the runner holds it: it comes back as another one. */
static void test_reset(void **state) {
    tr__driver *driver = open_driver("cuda");
    tr__scope scope;
    assert_int_equal(tr__driver_enter(driver, &scope, NULL), TR_OK);
    uint64_t before = scope.context.id;
    tr__driver_leave(driver, &scope);
    assert_int_equal(cuDevicePrimaryCtxReset_v2(0), 0);
    assert_int_equal(tr__driver_enter(driver, &scope, NULL), TR_OK);
    assert_true(scope.context.id && scope.context.id != before);
    assert_int_equal(tr__driver_current(driver), scope.context.id);
    tr__driver_leave(driver, &scope);
    tr__driver_close(driver);
    assert_int_equal(stub_alive(STUB_PRIMARY), 0);
}

static void test_enter_fails(void **state) {
    static const char *const calls[] = {"cuCtxGetCurrent", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent"};
    for (int i = 0; i < 3; i++) {
        tr__driver *driver = open_driver("cuda");
        tr__scope scope;
        tr_error *error = NULL;
        stub_fail(calls[i], 1, CUDA_ERROR_OUT_OF_MEMORY, false);
        assert_int_equal(tr__driver_enter(driver, &scope, &error), TR_E_OUT_OF_MEMORY);
        assert_non_null(strstr(tr_error_message(error), calls[i]));
        assert_int_equal(tr_error_driver_code(error), CUDA_ERROR_OUT_OF_MEMORY);
        tr_error_destroy(error);
        assert_int_equal(tr__driver_current(driver), 0);
        assert_int_equal(tr__driver_enter(driver, &scope, NULL), TR_OK); /* and then it works */
        tr__driver_leave(driver, &scope);
        tr__driver_close(driver);
        assert_int_equal(stub_alive(STUB_PRIMARY), 0);
    }
}

static void test_meanings(void **state) {
    static const struct {
        CUresult result;
        tr_status status;
        const char *words;
    } cases[] = {
        {CUDA_ERROR_INVALID_VALUE, TR_E_DRIVER, "CUDA_ERROR_INVALID_VALUE (1)"},
        {CUDA_ERROR_OUT_OF_MEMORY, TR_E_OUT_OF_MEMORY, "no memory left"},
        {CUDA_ERROR_NO_BINARY_FOR_GPU, TR_E_UNSUPPORTED, "give the PTX"},
        {CUDA_ERROR_INVALID_PTX, TR_E_COMPILE, "tr_error_log"},
        {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, TR_E_UNSUPPORTED, "newer than the driver"},
        {CUDA_ERROR_JIT_COMPILER_NOT_FOUND, TR_E_COMPILER_MISSING, "libnvidia-ptxjitcompiler"},
        {CUDA_ERROR_INVALID_IMAGE, TR_E_PARSE, "neither PTX nor a cubin"},
        {CUDA_ERROR_NOT_FOUND, TR_E_SIGNATURE, "no kernel of this name"},
        {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, TR_E_RESOURCE, "registers"},
        {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, TR_E_RESOURCE, "all at once"},
        {CUDA_ERROR_CONTEXT_IS_DESTROYED, TR_E_DRIVER, "was destroyed"},
        {(CUresult)4242, TR_E_DRIVER, "unknown error (4242)"},
    };
    tr__driver *driver = open_driver("cuda");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_error *error = NULL;
        assert_int_equal(tr__driver_fail(driver, cases[i].result, "cuSomething", &error), cases[i].status);
        assert_int_equal(tr_error_driver_code(error), cases[i].result);
        if (!strstr(tr_error_message(error), cases[i].words) ||
            !strstr(tr_error_message(error), "cuSomething"))
            fail_msg("%s", tr_error_message(error));
        tr_error_destroy(error);
        assert_int_equal(tr__driver_fail(driver, cases[i].result, "cuSomething", NULL), cases[i].status);
    }
    tr__driver_close(driver);
}

static void test_sticky(void **state) {
    tr__driver *driver = open_driver("cuda");
    CUcontext first, second;
    tr_error *error = NULL;
    assert_int_equal(cuCtxCreate_v2(&first, 0, 0), 0);
    assert_int_equal(tr__driver_fail(driver, CUDA_ERROR_ILLEGAL_ADDRESS, "cuCtxSynchronize", &error),
                     TR_E_DRIVER);
    assert_non_null(strstr(tr_error_message(error), "touched memory that is not there"));
    tr_error_destroy(error);
    error = NULL;
    assert_int_equal(tr__driver_fail(driver, CUDA_ERROR_ILLEGAL_ADDRESS, "cuMemAlloc", &error), TR_E_STICKY);
    assert_non_null(
        strstr(tr_error_message(error), "an earlier launch broke the context, and cuMemAlloc did nothing"));
    tr_error_destroy(error);
    /* A launch is never its own error's cause; another context is another matter. */
    assert_int_equal(cuCtxCreate_v2(&second, 0, 0), 0);
    error = NULL;
    assert_int_equal(tr__driver_fail_launch(driver, CUDA_ERROR_LAUNCH_FAILED, "add", &error), TR_E_STICKY);
    assert_non_null(
        strstr(tr_error_message(error), "launching add did nothing: CUDA_ERROR_LAUNCH_FAILED (719)"));
    assert_int_equal(tr_error_driver_code(error), 719);
    tr_error_destroy(error);
    assert_int_equal(tr__driver_fail_launch(driver, CUDA_ERROR_INVALID_VALUE, "add", NULL), TR_E_DRIVER);
    cuCtxDestroy_v2(second);
    cuCtxDestroy_v2(first);
    tr__driver_close(driver);
}

static int released;
static void release(tr__deferred *item) {
    released++;
}

static void test_deferred(void **state) {
    tr__deferred items[3] = {{.release = release}, {.release = release}, {.release = release}};
    for (int i = 0; i < 3; i++) tr__defer(&items[i]);
    assert_int_equal(released, 0);
    tr__settle();
    assert_int_equal(released, 3);
    tr__settle();
    assert_int_equal(released, 3);
}

static void test_graph_keeps(void **state) {
    tr__driver *driver = open_driver("cuda");
    CUcontext context;
    CUstream stream;
    CUgraph graph;
    tr__deferred item = {.release = release};
    static const char *const calls[] = {NULL, "cuUserObjectCreate", "cuStreamGetCaptureInfo",
                                        "cuGraphRetainUserObject"};
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    for (int i = 0; i < 4; i++) {
        released = 0;
        assert_int_equal(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
        if (calls[i]) stub_fail(calls[i], 1, CUDA_ERROR_OUT_OF_MEMORY, false);
        assert_int_equal(tr__driver_give_to_graph(driver, stream, &item, NULL),
                         i ? TR_E_OUT_OF_MEMORY : TR_OK);
        tr__settle();
        assert_int_equal(released, i ? 1 : 0);
        assert_int_equal(cuStreamEndCapture(stream, &graph), 0);
        cuGraphDestroy(graph);
        tr__settle();
        assert_int_equal(released, 1);
        assert_int_equal(stub_alive(STUB_USER_OBJECT), 0);
    }
    cuStreamDestroy_v2(stream);
    cuCtxDestroy_v2(context);
    tr__driver_close(driver);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_choice, begin),   cmocka_unit_test_setup(test_no_gpu, begin),
        cmocka_unit_test_setup(test_contexts, begin), cmocka_unit_test_setup(test_broken, begin),
        cmocka_unit_test_setup(test_reset, begin),    cmocka_unit_test_setup(test_enter_fails, begin),
        cmocka_unit_test_setup(test_meanings, begin), cmocka_unit_test_setup(test_sticky, begin),
        cmocka_unit_test_setup(test_deferred, begin), cmocka_unit_test_setup(test_graph_keeps, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
