/* The CPU device's driver: devices, contexts, memory, modules, launches, and what a fault leaves behind. */
#include "cpu_driver.h"

#include <stdbool.h>
#include <stdio.h>
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t entries(const char *folder) {
    size_t count = 0;
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

/* ---- devices ---- */
static void tells_what_the_device_is(void **state) {
    int count, value, version, major, minor;
    char name[64];
    OK(cuDeviceGetCount(&count));
    assert_int_equal(count, 2);
    OK(cuDriverGetVersion(&version));
    assert_true(version >= 12000);
    OK(cuDeviceGetName(name, sizeof name, 1));
    assert_non_null(strstr(name, "CPU"));
    OK(cuDeviceComputeCapability(&major, &minor, 0));
    assert_int_equal(major * 10 + minor, 89);
    OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0));
    assert_int_equal(value, 101376);
    OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
    assert_int_equal(value, 32);
    assert_int_equal(cuDeviceGetAttribute(&value, (CUdevice_attribute)9999, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 2),
                     CUDA_ERROR_INVALID_DEVICE);
    CUdevice device;
    assert_int_equal(cuDeviceGet(&device, 2), CUDA_ERROR_INVALID_DEVICE);
}

static void finds_functions_by_name_and_version(void **state) {
    void *function;
    CUdriverProcAddressQueryResult status;
    OK(cuGetProcAddress_v2("cuMemAlloc", &function, 12000, 0, &status));
    CUresult (*allocate)(CUdeviceptr *, size_t);
    memcpy(&allocate, &function, sizeof allocate);
    assert_true(allocate == cuMemAlloc_v2);
    OK(cuGetProcAddress_v2("cuGraphAddKernelNode", &function, 11000, 0, &status));
    assert_int_equal(status, CU_GET_PROC_ADDRESS_SUCCESS);
    OK(cuGetProcAddress_v2("cuFuncGetParamInfo", &function, 12000, 0, &status));
    assert_int_equal(status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    assert_int_equal(cuGetProcAddress("cuNone", &function, 12000, 0), CUDA_ERROR_NOT_FOUND);
    const char *text;
    OK(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    assert_string_equal(text, "CUDA_ERROR_ILLEGAL_ADDRESS");
    assert_int_equal(cuGetErrorString((CUresult)12345, &text), CUDA_ERROR_INVALID_VALUE);
    assert_null(text);
}

/* ---- contexts ---- */
static void keeps_a_stack_of_contexts(void **state) {
    CUcontext primary, own, current;
    CUdevice device;
    OK(cuCtxGetCurrent(&primary));
    OK(cuCtxCreate_v2(&own, 0, 1));
    OK(cuCtxGetCurrent(&current));
    assert_ptr_equal(current, own);
    OK(cuCtxGetDevice(&device));
    assert_int_equal(device, 1);
    OK(cuCtxPopCurrent_v2(&current));
    assert_ptr_equal(current, own);
    OK(cuCtxGetCurrent(&current));
    assert_ptr_equal(current, primary);
    OK(cuCtxPushCurrent_v2(own));
    OK(cuCtxDestroy_v2(own));
    OK(cuCtxGetCurrent(&current));
    assert_ptr_equal(current, primary);
    assert_int_equal(cuCtxPushCurrent_v2(own), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(cuCtxDestroy_v2(primary), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(cuCtxSetCurrent((CUcontext)0x1234), CUDA_ERROR_INVALID_CONTEXT);
}

static void tells_a_context_from_its_successor(void **state) {
    CUcontext first, second;
    unsigned long long first_id, second_id;
    unsigned int flags;
    int active;
    OK(cuDevicePrimaryCtxRetain(&first, 1));
    OK(cuCtxGetId(first, &first_id));
    OK(cuDevicePrimaryCtxGetState(1, &flags, &active));
    assert_true(active);
    OK(cuDevicePrimaryCtxRelease_v2(1));
    OK(cuDevicePrimaryCtxGetState(1, &flags, &active));
    assert_false(active);
    assert_int_equal(cuCtxGetId(first, &first_id), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    OK(cuDevicePrimaryCtxRetain(&second, 1));
    assert_ptr_equal(first, second);
    OK(cuCtxGetId(second, &second_id));
    assert_int_not_equal(first_id, second_id);
    OK(cuDevicePrimaryCtxRelease_v2(1));
    assert_int_equal(cuDevicePrimaryCtxRelease_v2(1), CUDA_ERROR_INVALID_CONTEXT);
}

static void leaves_no_thread_and_no_memory(void **state) {
    size_t threads = entries("/proc/self/task"), files = entries("/proc/self/fd");
    size_t before, after, total;
    OK(cuMemGetInfo_v2(&before, &total));
    CUcontext context;
    OK(cuCtxCreate_v2(&context, 0, 0));
    add_kernel add = load_add();
    CUdeviceptr memory = allocate_zeros(4096);
    for (int i = 0; i < 4; i++) {
        CUstream stream;
        CUevent event;
        OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
        OK(cuEventCreate(&event, 0));
        OK(launch_add(add.function, stream, memory, 1, 1024));
        OK(cuEventRecord(event, stream));
        if (i % 2) OK(cuStreamDestroy_v2(stream));
    }
    OK(cuCtxDestroy_v2(context));
    OK(cuMemGetInfo_v2(&after, &total));
    assert_int_equal(before, after);
    assert_int_equal(entries("/proc/self/fd"), files);
    /* The machine's own workers stay; the streams' threads are gone. */
    assert_true(entries("/proc/self/task") <= threads + (size_t)sysconf(_SC_NPROCESSORS_ONLN));
}

/* ---- memory ---- */
static void copies_and_fills(void **state) {
    uint32_t in[256], out[256];
    for (uint32_t i = 0; i < 256; i++) in[i] = i * 3;
    CUdeviceptr first, second;
    OK(cuMemAlloc_v2(&first, sizeof in));
    OK(cuMemAlloc_v2(&second, sizeof in));
    OK(cuMemcpyHtoD_v2(first, in, sizeof in));
    OK(cuMemcpyDtoD_v2(second, first, sizeof in));
    OK(cuMemcpyDtoH_v2(out, second, sizeof out));
    assert_memory_equal(in, out, sizeof in);
    OK(cuMemsetD16_v2(second + 2, 0xabcd, 3));
    OK(cuMemcpy((CUdeviceptr)(uintptr_t)out, second, sizeof out));
    assert_int_equal(out[0] >> 16, 0xabcd);
    assert_int_equal(out[1], 0xabcdabcd);
    assert_int_equal(out[2], 6);
    OK(cuMemFree_v2(first));
    OK(cuMemFree_v2(second));
    OK(cuMemFree_v2(0));
    assert_int_equal(cuMemFree_v2(second), CUDA_ERROR_INVALID_VALUE);
}

static void copies_planes(void **state) {
    CUdeviceptr plane;
    size_t pitch;
    OK(cuMemAllocPitch_v2(&plane, &pitch, 10, 4, 4));
    assert_true(pitch >= 10 && pitch % 512 == 0);
    OK(cuMemsetD2D8_v2(plane, pitch, 7, 10, 4));
    char rows[3][5] = {"abcd", "efgh", "ijkl"}, back[4][10];
    CUDA_MEMCPY2D in = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                        .srcHost = rows,
                        .srcPitch = 5,
                        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = plane,
                        .dstPitch = pitch,
                        .dstXInBytes = 2,
                        .dstY = 1,
                        .WidthInBytes = 4,
                        .Height = 3};
    CUDA_MEMCPY2D out = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                         .srcDevice = plane,
                         .srcPitch = pitch,
                         .dstMemoryType = CU_MEMORYTYPE_HOST,
                         .dstHost = back,
                         .dstPitch = 10,
                         .WidthInBytes = 10,
                         .Height = 4};
    OK(cuMemcpy2D_v2(&in));
    OK(cuMemcpy2D_v2(&out));
    assert_memory_equal(back[0], "\7\7\7\7\7\7\7\7\7\7", 10);
    assert_memory_equal(back[3], "\7\7ijkl\7\7\7\7", 10);
    out.Height = 5;
    assert_int_equal(cuMemcpy2D_v2(&out), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFree_v2(plane));
}

static void refuses_wrong_ranges(void **state) {
    char host[16] = {0};
    CUdeviceptr memory = allocate_zeros(16);
    assert_int_equal(cuMemcpyHtoD_v2(memory + 8, host, 16), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyHtoD_v2((CUdeviceptr)(uintptr_t)host, host, 16), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyHtoD_v2(memory, (void *)(uintptr_t)memory, 16), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemsetD32_v2(memory + 2, 0, 1), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemsetD8_v2(memory, 0, 17), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemcpyHtoD_v2(memory, host, 0));
    CUdeviceptr huge;
    assert_int_equal(cuMemAlloc_v2(&huge, (size_t)1 << 60), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(cuMemAlloc_v2(&huge, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFree_v2(memory));
    assert_int_equal(cuMemcpyDtoH_v2(host, memory, 8), CUDA_ERROR_INVALID_VALUE);
}

static void tells_whose_memory_it_is(void **state) {
    CUdeviceptr memory = allocate_zeros(1000), device_pointer, base;
    void *pinned;
    char pageable[64];
    unsigned int type;
    int ordinal;
    size_t size;
    OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory + 999));
    assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
    OK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, memory));
    assert_int_equal(ordinal, 0);
    OK(cuMemGetAddressRange_v2(&base, &size, memory + 17));
    assert_true(base == memory && size == 1000);
    assert_int_equal(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)pageable),
                     CUDA_ERROR_INVALID_VALUE);
    CUpointer_attribute asked[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
    void *answers[] = {&type, &ordinal};
    OK(cuPointerGetAttributes(2, asked, answers, (uintptr_t)pageable));
    assert_int_equal(type, 0);
    assert_int_equal(ordinal, -2);
    OK(cuMemHostAlloc(&pinned, 100, CU_MEMHOSTALLOC_DEVICEMAP));
    OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)pinned));
    assert_int_equal(type, CU_MEMORYTYPE_HOST);
    OK(cuMemHostGetDevicePointer_v2(&device_pointer, pinned, 0));
    OK(cuMemsetD8_v2(device_pointer, 5, 100));
    OK(cuCtxSynchronize());
    assert_int_equal(((char *)pinned)[99], 5);
    OK(cuMemFreeHost(pinned));
    OK(cuMemHostRegister_v2(pageable, sizeof pageable, 0));
    assert_int_equal(cuMemHostRegister_v2(pageable + 8, 8, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    OK(cuMemHostUnregister(pageable));
    assert_int_equal(cuMemHostUnregister(pageable), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    OK(cuMemFree_v2(memory));
}

static void allocates_in_stream_order(void **state) {
    add_kernel add = load_add();
    CUstream stream;
    CUdeviceptr memory;
    CUmemoryPool pool;
    cuuint64_t used;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuDeviceGetDefaultMemPool(&pool, 0));
    OK(cuMemAllocAsync(&memory, 4000, stream));
    OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    assert_int_equal(used, 4000);
    OK(cuMemsetD32Async(memory, 1, 1000, stream));
    OK(launch_add(add.function, stream, memory, 41, 1000));
    uint32_t *out = malloc(4000);
    OK(cuMemcpyDtoHAsync_v2(out, memory, 4000, stream));
    OK(cuMemFreeAsync(memory, stream));
    OK(cuStreamSynchronize(stream));
    assert_int_equal(out[999], 42);
    free(out);
    OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    assert_int_equal(used, 0);
    assert_int_equal(cuMemFree_v2(memory), CUDA_ERROR_INVALID_VALUE);
    OK(cuStreamDestroy_v2(stream));
    OK(cuModuleUnload(add.module));
}

/* ---- modules ---- */
static void refuses_what_is_not_ptx(void **state) {
    CUmodule module = NULL;
    char log[256] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    assert_int_equal(cuModuleLoadDataEx(&module, "\177ELF\2\1\1", 2, options, values),
                     CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_non_null(strstr(log, "PTX"));
    assert_int_equal((uintptr_t)values[1], strlen(log) + 1);
    values[1] = (void *)(uintptr_t)sizeof log;
    const char *bad =
        ".version 8.4\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n    frobnicate.b32;\n}\n";
    assert_int_not_equal(cuModuleLoadDataEx(&module, bad, 2, options, values), CUDA_SUCCESS);
    assert_non_null(strstr(log, "line 6"));
    assert_non_null(strstr(log, "frobnicate"));
    assert_null(module);
    assert_int_equal(cuModuleLoad(&module, "/no/such/file"), CUDA_ERROR_FILE_NOT_FOUND);
}

static void describes_functions(void **state) {
    add_kernel add = load_add();
    size_t offset, size;
    int value;
    const char *name;
    unsigned int count;
    OK(cuFuncGetParamInfo(add.function, 2, &offset, &size));
    assert_int_equal(offset, 12);
    assert_int_equal(size, 4);
    assert_int_equal(cuFuncGetParamInfo(add.function, 3, &offset, &size), CUDA_ERROR_INVALID_VALUE);
    OK(cuFuncGetName(&name, add.function));
    assert_string_equal(name, "add");
    OK(cuModuleGetFunctionCount(&count, add.module));
    assert_int_equal(count, 1);
    OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, add.function));
    assert_int_equal(value, 1024);
    OK(cuFuncSetAttribute(add.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 101376));
    assert_int_equal(
        cuFuncSetAttribute(add.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 101377),
        CUDA_ERROR_INVALID_VALUE);
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, add.function, 128, 0));
    assert_true(value >= 1);
    CUfunction other;
    assert_int_equal(cuModuleGetFunction(&other, add.module, "ad"), CUDA_ERROR_NOT_FOUND);
    OK(cuModuleUnload(add.module));
    assert_int_equal(cuFuncGetName(&name, add.function), CUDA_ERROR_INVALID_HANDLE);
    CUlibrary library;
    CUkernel kernel;
    OK(cuLibraryLoadData(&library, ADD_PTX, NULL, NULL, 0, NULL, NULL, 0));
    OK(cuLibraryGetKernel(&kernel, library, "add"));
    OK(cuKernelGetFunction(&other, kernel));
    OK(cuFuncGetName(&name, other));
    OK(cuLibraryUnload(library));
}

/* ---- launches ---- */
static void launches_in_each_form(void **state) {
    add_kernel add = load_add();
    CUdeviceptr memory = allocate_zeros(1000 * 4);
    OK(launch_add(add.function, NULL, memory, 1, 1000));
    struct {
        CUdeviceptr out;
        uint32_t value, count;
    } packed = {memory, 10, 1000};
    size_t size = sizeof packed;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    CUlaunchAttribute attributes[] = {{.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                       .value = {.programmaticStreamSerializationAllowed = 1}},
                                      {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value = {.cooperative = 1}}};
    CUlaunchConfig config = {8, 1, 1, 128, 1, 1, 0, NULL, attributes, 2};
    OK(cuLaunchKernelEx(&config, add.function, NULL, extra));
    assert_words(memory, 1000, 11);
    OK(cuMemFree_v2(memory));
    OK(cuModuleUnload(add.module));
}

static void refuses_wrong_launches(void **state) {
    add_kernel add = load_add();
    CUdeviceptr memory = allocate_zeros(4);
    uint32_t one = 1;
    void *params[] = {&memory, &one, &one}, *hole[] = {&memory, NULL, &one};
    size_t size = 8;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, params, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    struct {
        unsigned int grid[3], block[3], shared;
        void **params, **extra;
    } wrong[] = {
        {{0, 1, 1}, {32, 1, 1}, 0, params, NULL},     {{1, 1, 1}, {0, 1, 1}, 0, params, NULL},
        {{1, 65536, 1}, {32, 1, 1}, 0, params, NULL}, {{1, 1, 1}, {1025, 1, 1}, 0, params, NULL},
        {{1, 1, 1}, {32, 32, 2}, 0, params, NULL},    {{1, 1, 1}, {1, 1, 65}, 0, params, NULL},
        {{1, 1, 1}, {32, 1, 1}, 49153, params, NULL}, {{1, 1, 1}, {32, 1, 1}, 0, NULL, NULL},
        {{1, 1, 1}, {32, 1, 1}, 0, hole, NULL},       {{1, 1, 1}, {32, 1, 1}, 0, params, extra},
        {{1, 1, 1}, {32, 1, 1}, 0, NULL, extra},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(cuLaunchKernel(add.function, wrong[i].grid[0], wrong[i].grid[1], wrong[i].grid[2],
                                        wrong[i].block[0], wrong[i].block[1], wrong[i].block[2],
                                        wrong[i].shared, NULL, wrong[i].params, wrong[i].extra),
                         CUDA_ERROR_INVALID_VALUE);
    CUlaunchAttribute cluster = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                                 .value = {.clusterDim = {2, 1, 1}}};
    CUlaunchConfig config = {2, 1, 1, 32, 1, 1, 0, NULL, &cluster, 1};
    assert_int_equal(cuLaunchKernelEx(&config, add.function, params, NULL), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    assert_int_equal(cuLaunchCooperativeKernel(add.function, 1 << 20, 1, 1, 1024, 1, 1, 0, NULL, params),
                     CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    assert_int_equal(cuLaunchKernel((CUfunction)(void *)add.module, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
                     CUDA_ERROR_INVALID_HANDLE);
    OK(cuCtxSynchronize());
    assert_words(memory, 1, 0);
    OK(cuMemFree_v2(memory));
    OK(cuModuleUnload(add.module));
}

/* ---- faults ---- */
static void a_fault_breaks_its_context_only(void **state) {
    CUcontext context, other;
    OK(cuDevicePrimaryCtxRetain(&other, 1));
    OK(cuCtxCreate_v2(&context, 0, 0));
    add_kernel add = load_add();
    CUdeviceptr memory = allocate_zeros(100 * 4), another;
    char text[2048] = "";
    assert_int_equal(trcpu_last_fault(NULL, text, sizeof text), CUDA_ERROR_NOT_FOUND);
    OK(launch_add(add.function, NULL, memory, 1, 5000));
    assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(trcpu_last_fault(NULL, text, sizeof text));
    assert_non_null(strstr(text, "add"));
    assert_non_null(strstr(text, "add.py"));
    assert_non_null(strstr(text, "7"));
    assert_int_equal(cuMemAlloc_v2(&another, 16), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(launch_add(add.function, NULL, memory, 1, 1), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(cuMemFree_v2(memory), CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(cuCtxPushCurrent_v2(other));
    another = allocate_zeros(16);
    OK(cuMemFree_v2(another));
    OK(cuCtxPopCurrent_v2(NULL));
    OK(cuCtxDestroy_v2(context));
    OK(cuCtxCreate_v2(&context, 0, 0));
    add = load_add();
    memory = allocate_zeros(100 * 4);
    OK(launch_add(add.function, NULL, memory, 3, 100));
    assert_words(memory, 100, 3);
    OK(cuCtxDestroy_v2(context));
    OK(cuDevicePrimaryCtxRelease_v2(1));
}

static void a_child_gets_errors(void **state) {
    pid_t child = fork();
    if (child == 0) {
        CUdeviceptr memory;
        bool right = cuMemAlloc_v2(&memory, 16) == CUDA_ERROR_NOT_INITIALIZED &&
                     cuInit(0) == CUDA_ERROR_NOT_INITIALIZED &&
                     cuCtxSynchronize() == CUDA_ERROR_NOT_INITIALIZED;
        _exit(right ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    OK(cuCtxSynchronize());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_the_device_is),
        cmocka_unit_test(finds_functions_by_name_and_version),
        cmocka_unit_test(keeps_a_stack_of_contexts),
        cmocka_unit_test(tells_a_context_from_its_successor),
        cmocka_unit_test(leaves_no_thread_and_no_memory),
        cmocka_unit_test(copies_and_fills),
        cmocka_unit_test(copies_planes),
        cmocka_unit_test(refuses_wrong_ranges),
        cmocka_unit_test(tells_whose_memory_it_is),
        cmocka_unit_test(allocates_in_stream_order),
        cmocka_unit_test(refuses_what_is_not_ptx),
        cmocka_unit_test(describes_functions),
        cmocka_unit_test(launches_in_each_form),
        cmocka_unit_test(refuses_wrong_launches),
        cmocka_unit_test(a_fault_breaks_its_context_only),
        cmocka_unit_test(a_child_gets_errors),
    };
    return cmocka_run_group_tests(tests, start_driver, stop_driver);
}
