/* The CPU device's driver: graphs, by capture and by hand, launched and changed. */
#include "cpu_driver.h"

#include <time.h>

static CUstream new_stream(void) {
    CUstream stream;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    return stream;
}

static size_t count_nodes(CUgraph graph) {
    size_t count = 0;
    OK(cuGraphGetNodes(graph, NULL, &count));
    return count;
}

/* ---- capture ---- */
static void captures_forks_and_joins(void **state) {
    add_kernel add = load_add();
    CUstream stream = new_stream(), side = new_stream();
    CUdeviceptr memory = allocate_zeros(4000), other = allocate_zeros(4000);
    CUevent fork, join;
    CUgraph graph, during;
    CUgraphExec exec;
    CUstreamCaptureStatus status;
    const CUgraphNode *tail;
    size_t count;
    cuuint64_t id;
    OK(cuCtxSynchronize());
    OK(cuEventCreate(&fork, 0));
    OK(cuEventCreate(&join, 0));
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(launch_add(add.function, stream, memory, 1, 1000));
    OK(cuEventRecord(fork, stream));
    OK(cuStreamWaitEvent(side, fork, 0));
    OK(cuStreamIsCapturing(side, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
    OK(cuMemcpyDtoDAsync_v2(other, memory, 4000, side));
    OK(launch_add(add.function, stream, memory, 10, 1000));
    OK(cuEventRecord(join, side));
    OK(cuStreamWaitEvent(stream, join, 0));
    OK(cuStreamGetCaptureInfo_v2(stream, &status, &id, &during, &tail, &count));
    assert_int_equal(count, 2);
    OK(launch_add(add.function, stream, other, 100, 1000));
    assert_int_equal(cuEventQuery(join), CUDA_ERROR_CAPTURED_EVENT);
    OK(cuStreamEndCapture(stream, &graph));
    assert_ptr_equal(graph, during);
    assert_int_equal(count_nodes(graph), 4);
    OK(cuGraphGetEdges(graph, NULL, NULL, &count));
    assert_int_equal(count, 4);
    assert_words(memory, 1000, 0); /* nothing has run */
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    for (int i = 0; i < 3; i++) OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    assert_words(memory, 1000, 33);
    assert_words(other, 1000, 123); /* the last copy saw 23: 22 and the third 1 */
    OK(cuGraphExecDestroy(exec));
    OK(cuEventDestroy_v2(fork));
    OK(cuEventDestroy_v2(join));
    OK(cuStreamDestroy_v2(stream));
    OK(cuStreamDestroy_v2(side));
    OK(cuMemFree_v2(memory));
    OK(cuMemFree_v2(other));
    OK(cuModuleUnload(add.module));
}

/* What a GPU's driver (580, on an H200) refuses in a capture of each mode, and what it lets be; a refusal ends the
   capture. */
typedef struct probe {
    CUstream stream, other;
    CUdeviceptr memory;
    CUevent event;
    add_kernel add, second;
} probe;

static CUresult get_stream_id(probe *p) {
    unsigned long long id;
    return cuStreamGetId(p->stream, &id);
}
static CUresult get_stream_flags(probe *p) {
    unsigned int flags;
    return cuStreamGetFlags(p->stream, &flags);
}
static CUresult get_stream_context(probe *p) {
    CUcontext context;
    return cuStreamGetCtx(p->stream, &context);
}
static CUresult allocate(probe *p) {
    CUdeviceptr made;
    CUresult result = cuMemAlloc_v2(&made, 16);
    if (!result) OK(cuMemFree_v2(made));
    return result;
}
static CUresult allocate_relaxed(probe *p) {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    CUresult result = allocate(p);
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    return result;
}
static CUresult free_memory(probe *p) {
    CUresult result = cuMemFree_v2(p->memory);
    if (!result) p->memory = allocate_zeros(16);
    return result;
}
static CUresult unload(probe *p) {
    CUresult result = cuModuleUnload(p->second.module);
    p->second.module = result ? p->second.module : NULL;
    return result;
}
static CUresult wait_for_context(probe *p) {
    return cuCtxSynchronize();
}
static CUresult wait_for_other(probe *p) {
    return cuStreamSynchronize(p->other);
}
static CUresult ask_event(probe *p) {
    return cuEventQuery(p->event);
}
static CUresult launch_right(probe *p) {
    return launch_add(p->add.function, p->stream, p->memory, 1, 4);
}
static CUresult launch_wrong(probe *p) {
    return cuLaunchKernel(p->add.function, 1, 1, 1, 4096, 1, 1, 0, p->stream, NULL, NULL);
}
static CUresult encode(probe *p) {
    cuuint64_t shape[1] = {16};
    cuuint32_t box[1] = {16}, step[1] = {1};
    CUtensorMap map;
    CUresult result =
        cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 1, (void *)(uintptr_t)p->memory, shape,
                               NULL, box, step, 0, 0, 0, 0);
    return result == CUDA_ERROR_NOT_SUPPORTED ? CUDA_SUCCESS : result; /* before sm_90 */
}

static void refuses_in_a_capture_what_a_gpu_refuses(void **state) {
    enum { NEVER = 0, ALWAYS = 7, NOT_RELAXED = 3 }; /* a bit for each mode */
    static const struct {
        CUresult (*call)(probe *p);
        CUresult refusal;
        int when;
    } cases[] = {
        {get_stream_id, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, ALWAYS},
        {get_stream_flags, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, ALWAYS},
        {get_stream_context, CUDA_SUCCESS, NEVER},
        {allocate, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, NOT_RELAXED},
        {allocate_relaxed, CUDA_SUCCESS, NEVER},
        {free_memory, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, NOT_RELAXED},
        {wait_for_context, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, ALWAYS},
        {wait_for_other, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, NOT_RELAXED},
        {ask_event, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, NOT_RELAXED},
        {launch_right, CUDA_SUCCESS, NEVER},
        {launch_wrong, CUDA_ERROR_INVALID_VALUE, ALWAYS},
        {encode, CUDA_SUCCESS, NEVER},
        {unload, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, NOT_RELAXED}, /* last */
    };
    probe p = {new_stream(), new_stream(), allocate_zeros(16), NULL, load_add(), load_add()};
    OK(cuEventCreate(&p.event, 0));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int mode = CU_STREAM_CAPTURE_MODE_GLOBAL; mode <= CU_STREAM_CAPTURE_MODE_RELAXED; mode++) {
            int refused = cases[i].when >> mode & 1;
            CUgraph graph = NULL;
            OK(cuStreamBeginCapture_v2(p.stream, (CUstreamCaptureMode)mode));
            CUresult said = cases[i].call(&p), ended = cuStreamEndCapture(p.stream, &graph);
            if (said != (refused ? cases[i].refusal : CUDA_SUCCESS) ||
                ended != (refused ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS))
                fail_msg("case %zu in mode %d: %d, and the capture ended with %d", i, mode, (int)said,
                         (int)ended);
            if (graph) OK(cuGraphDestroy(graph));
        }
    }
    if (p.second.module) OK(cuModuleUnload(p.second.module));
    OK(cuModuleUnload(p.add.module));
    OK(cuEventDestroy_v2(p.event));
    OK(cuMemFree_v2(p.memory));
    OK(cuStreamDestroy_v2(p.stream));
    OK(cuStreamDestroy_v2(p.other));
}

static void a_capture_can_go_wrong(void **state) {
    CUstream stream = new_stream(), side = new_stream(), blocking;
    CUdeviceptr memory = allocate_zeros(16), made;
    CUevent event;
    CUgraph graph = NULL;
    CUstreamCaptureStatus status;
    OK(cuCtxSynchronize());
    OK(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    OK(cuEventCreate(&event, 0));
    assert_int_equal(cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL),
                     CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_ILLEGAL_STATE);
    /* A call that might wait. */
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_int_equal(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL),
                     CUDA_ERROR_ILLEGAL_STATE);
    assert_int_equal(cuMemAlloc_v2(&made, 16), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(cuMemsetD8Async(memory, 0, 16, stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_null(graph);
    /* The same call is fine where it was promised to be. */
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    OK(cuMemAlloc_v2(&made, 16));
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_RELAXED);
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphDestroy(graph));
    /* A stream that forked and never came back. */
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuMemsetD8Async(memory, 0, 16, stream));
    OK(cuEventRecord(event, stream));
    OK(cuStreamWaitEvent(side, event, 0));
    OK(cuMemsetD8Async(memory, 1, 16, side));
    assert_int_equal(cuStreamEndCapture(side, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuEventRecord(event, stream));
    OK(cuStreamWaitEvent(side, event, 0));
    OK(cuMemsetD8Async(memory, 1, 16, side));
    assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    OK(cuStreamIsCapturing(side, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
    /* The legacy stream would wait for what is only captured. */
    OK(cuStreamBeginCapture_v2(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_int_equal(cuStreamIsCapturing(NULL, &status), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    OK(cuStreamIsCapturing(blocking, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
    assert_int_equal(cuMemsetD8_v2(memory, 0, 16), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    assert_int_equal(cuStreamEndCapture(blocking, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    /* An event of before. */
    OK(cuEventRecord(event, side));
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_int_equal(cuStreamWaitEvent(stream, event, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    OK(cuMemFree_v2(made));
    OK(cuMemFree_v2(memory));
    OK(cuEventDestroy_v2(event));
    OK(cuStreamDestroy_v2(blocking));
    OK(cuStreamDestroy_v2(side));
    OK(cuStreamDestroy_v2(stream));
}

static void memory_of_a_capture_lives_with_the_graph(void **state) {
    add_kernel add = load_add();
    CUstream stream = new_stream();
    CUdeviceptr out = allocate_zeros(4000), scratch;
    CUgraph graph;
    CUgraphExec exec;
    size_t before, after, total;
    OK(cuCtxSynchronize());
    OK(cuMemGetInfo_v2(&before, &total));
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuMemAllocAsync(&scratch, 4000, stream));
    OK(cuMemsetD32Async(scratch, 20, 1000, stream));
    OK(launch_add(add.function, stream, scratch, 1, 1000));
    OK(cuMemcpyDtoDAsync_v2(out, scratch, 4000, stream));
    OK(cuMemFreeAsync(scratch, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    for (int i = 0; i < 2; i++) OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    assert_words(out, 1000, 21);
    OK(cuGraphExecDestroy(exec));
    OK(cuMemGetInfo_v2(&after, &total));
    assert_int_equal(before, after);
    OK(cuMemFree_v2(out));
    OK(cuStreamDestroy_v2(stream));
    OK(cuModuleUnload(add.module));
}

/* ---- by hand ---- */
typedef struct arguments {
    CUdeviceptr out;
    uint32_t value, count;
    void *pointers[3];
} arguments;

static CUDA_KERNEL_NODE_PARAMS_v2 add_params(CUfunction function, arguments *at) {
    at->pointers[0] = &at->out;
    at->pointers[1] = &at->value;
    at->pointers[2] = &at->count;
    return (CUDA_KERNEL_NODE_PARAMS_v2){.func = function,
                                        .gridDimX = (at->count + 127) / 128,
                                        .gridDimY = 1,
                                        .gridDimZ = 1,
                                        .blockDimX = 128,
                                        .blockDimY = 1,
                                        .blockDimZ = 1,
                                        .kernelParams = at->pointers};
}

static void changes_what_was_instantiated(void **state) {
    add_kernel add = load_add();
    CUstream stream = new_stream();
    CUdeviceptr memory = allocate_zeros(4000), copy = allocate_zeros(4000);
    CUgraph graph;
    CUgraphNode fill, kernel, move, end;
    CUgraphExec exec;
    CUcontext context;
    unsigned int enabled;
    OK(cuCtxGetCurrent(&context));
    OK(cuGraphCreate(&graph, 0));
    CUDA_MEMSET_NODE_PARAMS fill_params = {memory, 0, 5, 4, 1000, 1};
    OK(cuGraphAddMemsetNode(&fill, graph, NULL, 0, &fill_params, context));
    arguments at = {memory, 1, 1000, {0}};
    CUDA_KERNEL_NODE_PARAMS_v2 params = add_params(add.function, &at);
    OK(cuGraphAddKernelNode_v2(&kernel, graph, &fill, 1, &params));
    CUDA_MEMCPY3D move_params = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                                 .srcDevice = memory,
                                 .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                                 .dstDevice = copy,
                                 .WidthInBytes = 4000,
                                 .Height = 1,
                                 .Depth = 1};
    OK(cuGraphAddMemcpyNode(&move, graph, &kernel, 1, &move_params, context));
    OK(cuGraphAddEmptyNode(&end, graph, &move, 1));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphUpload(exec, stream));
    OK(cuGraphLaunch(exec, stream));
    /* For the next launch; the one before keeps what it was launched with. */
    at.value = 100;
    at.count = 10;
    params = add_params(add.function, &at);
    OK(cuGraphExecKernelNodeSetParams_v2(exec, kernel, &params));
    OK(cuStreamSynchronize(stream));
    assert_words(copy, 1000, 6);
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    assert_words(copy, 10, 105);
    assert_words(copy + 40, 990, 5);
    OK(cuGraphNodeSetEnabled(exec, kernel, 0));
    OK(cuGraphNodeGetEnabled(exec, kernel, &enabled));
    assert_int_equal(enabled, 0);
    fill_params.value = 8;
    OK(cuGraphExecMemsetNodeSetParams(exec, fill, &fill_params, context));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    assert_words(copy, 1000, 8);
    /* What is refused changes nothing. */
    params.blockDimX = 2000;
    assert_int_equal(cuGraphExecKernelNodeSetParams_v2(exec, kernel, &params), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGraphExecKernelNodeSetParams_v2(exec, fill, &params), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGraphNodeSetEnabled(exec, end, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuGraphNodeSetEnabled(exec, kernel, 1));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    assert_words(copy, 10, 108);
    /* The graph itself, and an instantiation brought up to it. */
    CUDA_KERNEL_NODE_PARAMS_v2 told;
    OK(cuGraphKernelNodeGetParams_v2(kernel, &told));
    assert_int_equal(*(uint32_t *)told.kernelParams[1], 1);
    at.value = 2;
    at.count = 1000;
    params = add_params(add.function, &at);
    OK(cuGraphKernelNodeSetParams_v2(kernel, &params));
    CUgraphExecUpdateResultInfo info;
    OK(cuGraphExecUpdate_v2(exec, graph, &info));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    assert_words(copy, 1000, 7);
    OK(cuGraphDestroyNode(end));
    assert_int_equal(cuGraphExecUpdate_v2(exec, graph, &info), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_int_equal(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));
    OK(cuMemFree_v2(memory));
    OK(cuMemFree_v2(copy));
    OK(cuStreamDestroy_v2(stream));
    OK(cuModuleUnload(add.module));
}

static void orders_by_dependencies_and_nests(void **state) {
    add_kernel add = load_add();
    CUstream stream = new_stream();
    CUdeviceptr memory = allocate_zeros(4000);
    CUgraph inner, outer;
    CUgraphNode first, second, child, fill;
    CUgraphExec exec;
    CUcontext context;
    size_t count = 4;
    CUgraphNode nodes[4];
    OK(cuCtxGetCurrent(&context));
    OK(cuGraphCreate(&inner, 0));
    arguments at = {memory, 1, 1000, {0}};
    CUDA_KERNEL_NODE_PARAMS_v2 params = add_params(add.function, &at);
    OK(cuGraphAddKernelNode_v2(&first, inner, NULL, 0, &params));
    OK(cuGraphAddKernelNode_v2(&second, inner, &first, 1, &params));
    assert_int_equal(cuGraphAddDependencies(inner, &first, &second, 1), CUDA_ERROR_INVALID_VALUE);
    OK(cuGraphAddDependencies(inner, &second, &first, 1));
    assert_int_equal(cuGraphInstantiateWithFlags(&exec, inner, 0), CUDA_ERROR_INVALID_VALUE); /* a cycle */
    OK(cuGraphRemoveDependencies(inner, &second, &first, 1));
    OK(cuGraphNodeGetDependentNodes(first, nodes, &count));
    assert_int_equal(count, 1);
    assert_ptr_equal(nodes[0], second);
    OK(cuGraphCreate(&outer, 0));
    OK(cuGraphAddChildGraphNode(&child, outer, NULL, 0, inner));
    CUDA_MEMSET_NODE_PARAMS fill_params = {memory, 0, 50, 4, 1000, 1};
    OK(cuGraphAddMemsetNode(&fill, outer, NULL, 0, &fill_params, context));
    OK(cuGraphAddDependencies(outer, &fill, &child, 1)); /* added later, runs before */
    OK(cuGraphDestroy(inner));
    OK(cuGraphInstantiateWithFlags(&exec, outer, 0));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    assert_words(memory, 1000, 52);
    CUgraph clone;
    CUgraphNode found;
    OK(cuGraphClone(&clone, outer));
    OK(cuGraphNodeFindInClone(&found, fill, clone));
    assert_ptr_not_equal(found, fill);
    OK(cuGraphDestroy(clone));
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(outer));
    OK(cuMemFree_v2(memory));
    OK(cuStreamDestroy_v2(stream));
    OK(cuModuleUnload(add.module));
}

/* ---- what graphs keep alive ---- */
static void count_up(void *user) {
    ++*(int *)user;
}

static void user_objects_live_as_long_as_graphs(void **state) {
    int destroyed = 0;
    CUgraph graph;
    CUgraphExec exec;
    CUuserObject object, other;
    OK(cuGraphCreate(&graph, 0));
    OK(cuUserObjectCreate(&object, &destroyed, count_up, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    OK(cuUserObjectCreate(&other, &destroyed, count_up, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    OK(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
    OK(cuGraphRetainUserObject(graph, other, 2, 0));
    OK(cuUserObjectRelease(other, 1));
    OK(cuGraphReleaseUserObject(graph, other, 1));
    assert_int_equal(destroyed, 0);
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphReleaseUserObject(graph, other, 1));
    assert_int_equal(destroyed, 0);
    OK(cuGraphDestroy(graph));
    assert_int_equal(destroyed, 0);
    OK(cuGraphLaunch(exec, NULL));
    OK(cuGraphExecDestroy(exec));
    OK(cuCtxSynchronize());
    /* A destructor is called some time later, by a thread of the driver. */
    for (int i = 0; i < 10000 && destroyed < 2; i++) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        cuCtxSynchronize();
    }
    assert_int_equal(destroyed, 2);
    assert_int_equal(cuUserObjectRelease(object, 1), CUDA_ERROR_INVALID_VALUE);
}

static void a_graph_may_outlive_its_context(void **state) {
    CUcontext context;
    CUgraph graph;
    CUgraphNode node;
    CUgraphExec exec;
    OK(cuCtxCreate_v2(&context, 0, 0));
    add_kernel add = load_add();
    CUdeviceptr memory = allocate_zeros(64);
    OK(cuGraphCreate(&graph, 0));
    arguments at = {memory, 1, 16, {0}};
    CUDA_KERNEL_NODE_PARAMS_v2 params = add_params(add.function, &at);
    OK(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &params));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuCtxDestroy_v2(context));
    assert_int_equal(cuGraphLaunch(exec, NULL), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    assert_int_equal(cuGraphExecKernelNodeSetParams_v2(exec, node, &params), CUDA_ERROR_INVALID_VALUE);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captures_forks_and_joins),
        cmocka_unit_test(refuses_in_a_capture_what_a_gpu_refuses),
        cmocka_unit_test(a_capture_can_go_wrong),
        cmocka_unit_test(memory_of_a_capture_lives_with_the_graph),
        cmocka_unit_test(changes_what_was_instantiated),
        cmocka_unit_test(orders_by_dependencies_and_nests),
        cmocka_unit_test(user_objects_live_as_long_as_graphs),
        cmocka_unit_test(a_graph_may_outlive_its_context),
    };
    return cmocka_run_group_tests(tests, start_driver, stop_driver);
}
