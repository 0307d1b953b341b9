/* Memory, streams, events, graphs: handles and what can be asked of them. */
#include "state.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BASE_BITS = 40 };
static atomic_ullong next_address = 1ull << BASE_BITS;
static atomic_ullong next_id = 1;

static CUresult allocate(CUdeviceptr *address, size_t size) {
    if (!size) return CUDA_ERROR_INVALID_VALUE;
    *address = atomic_fetch_add(&next_address, (size + 511) / 512 * 512 + 512);
    stub_count(STUB_MEMORY, 1);
    return CUDA_SUCCESS;
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    ENTER(cuMemGetInfo_v2);
    *free = *total = (size_t)64 << 30;
    return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    ENTER(cuMemAlloc_v2);
    CUresult forbidden = stub_context_broken();
    if (!forbidden) forbidden = stub_forbidden();
    return forbidden ? forbidden : allocate(address, size);
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t size, CUstream stream) {
    ENTER(cuMemAllocAsync);
    return allocate(address, size);
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    ENTER(cuMemFree_v2);
    CUresult forbidden = stub_forbidden();
    if (forbidden) return forbidden;
    stub_count(STUB_MEMORY, address ? -1 : 0);
    return CUDA_SUCCESS;
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    ENTER(cuMemFreeAsync);
    stub_count(STUB_MEMORY, address ? -1 : 0);
    return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **out, size_t size, unsigned int flags) {
    ENTER(cuMemHostAlloc);
    *out = malloc(size);
    stub_count(STUB_HOST_MEMORY, *out ? 1 : 0);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemFreeHost(void *memory) {
    ENTER(cuMemFreeHost);
    stub_count(STUB_HOST_MEMORY, memory ? -1 : 0);
    free(memory);
    return CUDA_SUCCESS;
}

/* An address that was ever handed out is device memory of device 0; any other is unknown, as a host pointer
 * is. */
static CUresult pointer_attribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
    if (address < 1ull << BASE_BITS || address >= next_address) return CUDA_ERROR_INVALID_VALUE;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)data = stub_current_context(); return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *(unsigned int *)data = CU_MEMORYTYPE_DEVICE; return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)data = address; return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)data = 0; return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *(unsigned int *)data = 0; return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
    ENTER(cuPointerGetAttribute);
    return pointer_attribute(data, attribute, address);
}

/* As the driver: an unknown pointer is no error here, its attributes read as zero. */
CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
                                CUdeviceptr address) {
    ENTER(cuPointerGetAttributes);
    for (unsigned int i = 0; i < count; i++)
        if (pointer_attribute(data[i], attributes[i], address)) *(unsigned int *)data[i] = 0;
    return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
    ENTER(cuMemGetAddressRange_v2);
    return CUDA_ERROR_NOT_FOUND;
}

/* ---- streams and events ---- */
CUstream_st stub_default_stream;

static CUresult make_stream(CUstream *out) {
    *out = calloc(1, sizeof **out);
    if (!*out) return CUDA_ERROR_OUT_OF_MEMORY;
    (*out)->id = next_id++;
    (*out)->context = stub_current_context();
    stub_count(STUB_STREAM, 1);
    return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *out, unsigned int flags) {
    ENTER(cuStreamCreate);
    return make_stream(out);
}

CUresult cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority) {
    ENTER(cuStreamCreateWithPriority);
    return make_stream(out);
}

CUresult cuStreamDestroy_v2(CUstream stream) {
    ENTER(cuStreamDestroy_v2);
    stub_capture_drop(stream);
    free(stream);
    stub_count(STUB_STREAM, -1);
    return CUDA_SUCCESS;
}

CUresult cuStreamGetId(CUstream stream, unsigned long long *id) {
    ENTER(cuStreamGetId);
    *id = stub_stream_of(stream)->id;
    return stub_forbidden_on(stream);
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *out) {
    ENTER(cuStreamGetCtx);
    CUcontext owner = stub_stream_of(stream)->context;
    *out = owner ? owner : stub_current_context();
    return CUDA_SUCCESS;
}

typedef struct CUevent_st {
    char unused;
} CUevent_st;

CUresult cuEventCreate(CUevent *out, unsigned int flags) {
    ENTER(cuEventCreate);
    *out = calloc(1, sizeof **out);
    stub_count(STUB_EVENT, *out ? 1 : 0);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuEventDestroy_v2(CUevent event) {
    ENTER(cuEventDestroy_v2);
    free(event);
    stub_count(STUB_EVENT, -1);
    return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
    ENTER(cuEventElapsedTime);
    *milliseconds = 1;
    return CUDA_SUCCESS;
}

/* ---- graphs: what they keep alive is all there is to them ---- */
typedef struct CUuserObject_st {
    atomic_long references;
    CUhostFn destroy;
    void *user;
} CUuserObject_st;

typedef struct holding {
    struct holding *next;
    CUuserObject object;
    unsigned int count;
} holding;

typedef struct CUgraph_st {
    holding *holdings;
    unsigned long long id;
    size_t nodes;
} CUgraph_st;

typedef struct CUgraphExec_st {
    CUgraph_st kept;
} CUgraphExec_st;

static void release_object(CUuserObject object, long count) {
    if (atomic_fetch_sub(&object->references, count) == count) {
        object->destroy(object->user);
        free(object);
        stub_count(STUB_USER_OBJECT, -1);
    }
}

static CUresult hold(CUgraph graph, CUuserObject object, unsigned int count) {
    holding *made = malloc(sizeof *made);
    if (!made) return CUDA_ERROR_OUT_OF_MEMORY;
    *made = (holding){graph->holdings, object, count};
    graph->holdings = made;
    return CUDA_SUCCESS;
}

static void let_go(CUgraph graph) {
    for (holding *next, *at = graph->holdings; at; at = next) {
        next = at->next;
        release_object(at->object, at->count);
        free(at);
    }
}

unsigned long long stub_graph_id(CUgraph graph) {
    return graph->id;
}

CUresult stub_make_graph(CUgraph *out) {
    *out = calloc(1, sizeof **out);
    if (!*out) return CUDA_ERROR_OUT_OF_MEMORY;
    (*out)->id = next_id++;
    stub_count(STUB_GRAPH, 1);
    return CUDA_SUCCESS;
}

CUresult cuGraphCreate(CUgraph *out, unsigned int flags) {
    ENTER(cuGraphCreate);
    return stub_make_graph(out);
}

CUresult cuGraphDestroy(CUgraph graph) {
    ENTER(cuGraphDestroy);
    let_go(graph);
    free(graph);
    stub_count(STUB_GRAPH, -1);
    return CUDA_SUCCESS;
}

static CUresult add_node(CUgraphNode *out, CUgraph graph) {
    *out = (CUgraphNode)(uintptr_t)(graph->id << 24 | ++graph->nodes << 4);
    return CUDA_SUCCESS;
}

static void keep_node(const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
    CUlaunchConfig config = {params->gridDimX,
                             params->gridDimY,
                             params->gridDimZ,
                             params->blockDimX,
                             params->blockDimY,
                             params->blockDimZ,
                             params->sharedMemBytes,
                             NULL,
                             NULL,
                             0};
    stub_keep_launch(&config, params->func, params->kernelParams, params->extra);
}

CUresult cuGraphAddKernelNode_v2(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies,
                                 size_t dependency_count, const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
    ENTER(cuGraphAddKernelNode_v2);
    if (__builtin_expect(stub.recording, 0)) keep_node(params);
    return add_node(out, graph);
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
    ENTER(cuGraphExecKernelNodeSetParams_v2);
    if (__builtin_expect(stub.recording, 0)) keep_node(params);
    return CUDA_SUCCESS;
}

/* As the driver: the handle for the device comes back in what is const. */
CUresult cuGraphKernelNodeSetAttribute(CUgraphNode node, CUkernelNodeAttrID attribute,
                                       const CUkernelNodeAttrValue *value) {
    ENTER(cuGraphKernelNodeSetAttribute);
    if (attribute == CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE)
        ((CUkernelNodeAttrValue *)value)->deviceUpdatableKernelNode.devNode = (uintptr_t)node;
    return CUDA_SUCCESS;
}

CUresult cuGraphAddMemcpyNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies,
                              size_t dependency_count, const CUDA_MEMCPY3D *params, CUcontext context) {
    ENTER(cuGraphAddMemcpyNode);
    return add_node(out, graph);
}

CUresult cuGraphAddMemsetNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies,
                              size_t dependency_count, const CUDA_MEMSET_NODE_PARAMS *params,
                              CUcontext context) {
    ENTER(cuGraphAddMemsetNode);
    return add_node(out, graph);
}

CUresult cuGraphAddEmptyNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies,
                             size_t dependency_count) {
    ENTER(cuGraphAddEmptyNode);
    return add_node(out, graph);
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph graph, unsigned long long flags) {
    ENTER(cuGraphInstantiateWithFlags);
    CUgraphExec exec = calloc(1, sizeof *exec);
    if (!exec) return CUDA_ERROR_OUT_OF_MEMORY;
    for (const holding *at = graph->holdings; at; at = at->next)
        if (hold(&exec->kept, at->object, 1) == CUDA_SUCCESS) at->object->references++;
    stub_count(STUB_GRAPH_EXEC, 1);
    *out = exec;
    return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
    ENTER(cuGraphExecDestroy);
    let_go(&exec->kept);
    free(exec);
    stub_count(STUB_GRAPH_EXEC, -1);
    return CUDA_SUCCESS;
}

CUresult cuUserObjectCreate(CUuserObject *out, void *address, CUhostFn destroy, unsigned int references,
                            unsigned int flags) {
    ENTER(cuUserObjectCreate);
    CUuserObject object = malloc(sizeof *object);
    if (!object) return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_init(&object->references, (long)references);
    object->destroy = destroy;
    object->user = address;
    stub_count(STUB_USER_OBJECT, 1);
    *out = object;
    return CUDA_SUCCESS;
}

CUresult cuUserObjectRetain(CUuserObject object, unsigned int count) {
    ENTER(cuUserObjectRetain);
    object->references += count;
    return CUDA_SUCCESS;
}

CUresult cuUserObjectRelease(CUuserObject object, unsigned int count) {
    ENTER(cuUserObjectRelease);
    release_object(object, count);
    return CUDA_SUCCESS;
}

CUresult cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned int count, unsigned int flags) {
    ENTER(cuGraphRetainUserObject);
    if (!(flags & CU_GRAPH_USER_OBJECT_MOVE)) object->references += count;
    return hold(graph, object, count);
}

/* ---- the driver's compiler: what it "links" is an empty ELF image ---- */
CUresult cuLinkCreate_v2(unsigned int option_count, CUjit_option *options, void **option_values,
                         CUlinkState *out) {
    ENTER(cuLinkCreate_v2);
    *out = calloc(1, 64);
    stub_count(STUB_LINK, *out ? 1 : 0);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuLinkComplete(CUlinkState state, void **cubin, size_t *size) {
    ENTER(cuLinkComplete);
    *cubin = memcpy(state, "\177ELF\2\1\1", 7);
    *size = 64;
    return CUDA_SUCCESS;
}

CUresult cuLinkDestroy(CUlinkState state) {
    ENTER(cuLinkDestroy);
    free(state);
    stub_count(STUB_LINK, -1);
    return CUDA_SUCCESS;
}
