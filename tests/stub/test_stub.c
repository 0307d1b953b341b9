/* The stub itself: handles, parameters of images, failures on demand, what it tells of a launch. */
#include "stub.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define CUDA_FUNCTION(name, symbol, since, params) CUresult symbol params;
#include "driver/cuda_symbols.inc"

static const char PTX[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
                          ".visible .entry other(.param .u32 a) { ret; }\n"
                          ".visible .entry foo(\n"
                          "\t.param .u64 .ptr .global .align 1 foo_param_0,\n"
                          "\t.param .u32 foo_param_1,\n"
                          "\t.param .align 2 .b8 foo_param_2[2],\n"
                          "\t.param .u8 foo_param_3\n"
                          ")\n.reqntid 128\n{ ret; }\n";

static CUfunction load(CUmodule *module, const char *name) {
    CUfunction function = NULL;
    assert_int_equal(cuModuleLoadData(module, PTX), CUDA_SUCCESS);
    assert_int_equal(cuModuleGetFunction(&function, *module, name), CUDA_SUCCESS);
    return function;
}

static void reads_parameters_from_ptx(void **state) {
    CUmodule module;
    CUfunction function = load(&module, "foo");
    static const size_t expected[4][2] = {{0, 8}, {8, 4}, {12, 2}, {14, 1}};
    size_t offset, size;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(cuFuncGetParamInfo(function, i, &offset, &size), CUDA_SUCCESS);
        assert_int_equal(offset, expected[i][0]);
        assert_int_equal(size, expected[i][1]);
    }
    assert_int_equal(cuFuncGetParamInfo(function, 4, &offset, &size), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuModuleGetFunction(&function, module, "fo"), CUDA_ERROR_NOT_FOUND);
    assert_int_equal(stub_alive(STUB_MODULE), 1);
    cuModuleUnload(module);
    assert_int_equal(stub_alive(STUB_KINDS), 0);
}

static void takes_parameters_from_the_test(void **state) {
    stub_parameter given[] = {{0, 8}, {64, 128}};
    stub_set_parameters(given, 2);
    CUmodule module;
    CUfunction function = load(&module, "other");
    size_t offset, size;
    assert_int_equal(cuFuncGetParamInfo(function, 1, &offset, &size), CUDA_SUCCESS);
    assert_int_equal(offset, 64);
    assert_int_equal(size, 128);
    cuModuleUnload(module);
}

static void fails_when_told(void **state) {
    int value;
    CUdevice device;
    stub_fail("cuDeviceGetAttribute", 2, CUDA_ERROR_UNKNOWN, false);
    assert_int_equal(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0), CUDA_SUCCESS);
    assert_int_equal(cuDeviceGet(&device, 0), CUDA_SUCCESS);
    assert_false(stub_failed());
    assert_int_equal(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0), CUDA_ERROR_UNKNOWN);
    assert_true(stub_failed());
    assert_int_equal(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0), CUDA_SUCCESS);
    stub_fail(NULL, 2, CUDA_ERROR_ILLEGAL_ADDRESS, true);
    assert_int_equal(cuDeviceGet(&device, 0), CUDA_SUCCESS);
    assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(cuDeviceGet(&device, 0), CUDA_ERROR_ILLEGAL_ADDRESS);
    stub_fail(NULL, 0, CUDA_SUCCESS, false);
    assert_int_equal(cuDeviceGet(&device, 0), CUDA_SUCCESS);
}

static void records_calls_and_launches(void **state) {
    CUmodule module;
    CUfunction function = load(&module, "foo");
    unsigned long launches = stub_calls("cuLaunchKernelEx");
    stub_record(true);
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1};
    CUlaunchConfig config = {3, 4, 5, 128, 1, 1, 1024, NULL, &attribute, 1};
    uint64_t address = 0x1122334455667788;
    uint32_t count = 7;
    uint16_t half = 0x3c00;
    uint8_t flag = 1;
    void *params[] = {&address, &count, &half, &flag};
    assert_int_equal(cuLaunchKernelEx(&config, function, params, NULL), CUDA_SUCCESS);
    const stub_launch *launch = stub_last_launch();
    assert_string_equal(launch->name, "foo");
    assert_int_equal(launch->grid[2], 5);
    assert_int_equal(launch->shared, 1024);
    assert_int_equal(launch->attributes[0].id, CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
    assert_int_equal(launch->buffer_size, 15);
    assert_memory_equal(launch->buffer, &address, 8);
    assert_memory_equal(launch->buffer + 12, &half, 2);

    unsigned char buffer[16] = {9, 8, 7};
    size_t size = sizeof buffer;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    assert_int_equal(cuLaunchKernelEx(&config, function, NULL, extra), CUDA_SUCCESS);
    assert_int_equal(launch->buffer_size, 16);
    assert_memory_equal(launch->buffer, buffer, 16);
    assert_string_equal(stub_recorded(), "cuLaunchKernelEx cuLaunchKernelEx");
    assert_int_equal(stub_calls("cuLaunchKernelEx") - launches, 2);
    stub_record(false);
    cuModuleUnload(module);
}

static void finds_symbols_by_version(void **state) {
    void *address;
    CUdriverProcAddressQueryResult found;
    assert_int_equal(cuGetProcAddress_v2("cuMemAlloc", &address, 13000, 0, &found), CUDA_SUCCESS);
    assert_ptr_equal(address, dlsym(RTLD_DEFAULT, "cuMemAlloc_v2"));
    assert_int_equal(cuGetProcAddress_v2("cuCtxCreate", &address, 12000, 0, &found), CUDA_SUCCESS);
    assert_ptr_equal(address, dlsym(RTLD_DEFAULT, "cuCtxCreate_v3"));
    assert_int_equal(cuGetProcAddress_v2("cuNothing", &address, 13000, 0, &found), CUDA_SUCCESS);
    assert_int_equal(found, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    assert_null(address);
    stub_hide("cuFuncGetParamInfo");
    cuGetProcAddress_v2("cuFuncGetParamInfo", &address, 13000, 0, &found);
    assert_null(address);
}

static void count_destroyed(void *user) {
    ++*(int *)user;
}

static void keeps_user_objects_as_long_as_graphs(void **state) {
    int destroyed = 0;
    CUgraph graph;
    CUgraphExec exec;
    CUuserObject object;
    assert_int_equal(cuGraphCreate(&graph, 0), CUDA_SUCCESS);
    assert_int_equal(
        cuUserObjectCreate(&object, &destroyed, count_destroyed, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC),
        CUDA_SUCCESS);
    assert_int_equal(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE), CUDA_SUCCESS);
    assert_int_equal(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
    cuGraphDestroy(graph);
    assert_int_equal(destroyed, 0);
    cuGraphExecDestroy(exec);
    assert_int_equal(destroyed, 1);
    assert_int_equal(stub_alive(STUB_KINDS), 0);
}

static void tells_contexts_apart(void **state) {
    CUcontext context, again, current;
    unsigned long long first, second;
    assert_int_equal(cuDevicePrimaryCtxRetain(&context, 1), CUDA_SUCCESS);
    assert_int_equal(cuCtxGetCurrent(&current), CUDA_SUCCESS);
    assert_null(current);
    assert_int_equal(cuCtxPushCurrent_v2(context), CUDA_SUCCESS);
    assert_int_equal(cuCtxGetId(context, &first), CUDA_SUCCESS);
    CUdevice device;
    assert_int_equal(cuCtxGetDevice(&device), CUDA_SUCCESS);
    assert_int_equal(device, 1);
    assert_int_equal(cuCtxPopCurrent_v2(&current), CUDA_SUCCESS);
    assert_ptr_equal(current, context);
    assert_int_equal(stub_alive(STUB_PRIMARY), 1);
    cuDevicePrimaryCtxRelease_v2(1);
    cuDevicePrimaryCtxRetain(&again, 1);
    cuCtxGetId(again, &second);
    assert_ptr_equal(again, context);
    assert_int_not_equal(first, second);
    cuDevicePrimaryCtxRelease_v2(1);
}

static int reset(void **state) {
    stub_reset();
    return 0;
}

/* As a real driver: see test_cpu_graphs.c for all of it. */
static void refuses_in_a_capture(void **state) {
    CUcontext context;
    CUstream stream;
    CUgraph graph;
    CUdeviceptr made;
    unsigned long long id;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    assert_int_equal(cuStreamGetId(stream, &id), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
        if (i == 1) assert_int_equal(cuStreamGetId(stream, &id), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        if (i == 2) assert_int_equal(cuMemAlloc_v2(&made, 8), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        assert_int_equal(cuThreadExchangeStreamCaptureMode(&mode), 0);
        if (i == 0) assert_int_equal(cuMemAlloc_v2(&made, 8), 0);
        if (i == 3) assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        assert_int_equal(cuThreadExchangeStreamCaptureMode(&mode), 0);
        assert_int_equal(cuStreamEndCapture(stream, &graph), i ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : 0);
        if (!i) assert_int_equal(cuGraphDestroy(graph), 0);
    }
    assert_int_equal(cuMemFree_v2(made), 0);
    assert_int_equal(cuStreamDestroy_v2(stream), 0);
    assert_int_equal(cuCtxDestroy_v2(context), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_parameters_from_ptx, reset),
        cmocka_unit_test_setup(takes_parameters_from_the_test, reset),
        cmocka_unit_test_setup(fails_when_told, reset),
        cmocka_unit_test_setup(records_calls_and_launches, reset),
        cmocka_unit_test_setup(finds_symbols_by_version, reset),
        cmocka_unit_test_setup(keeps_user_objects_as_long_as_graphs, reset),
        cmocka_unit_test_setup(tells_contexts_apart, reset),
        cmocka_unit_test_setup(refuses_in_a_capture, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
