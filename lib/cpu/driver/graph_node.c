/* The nodes of a graph: added, asked for what they do, changed. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

/* ---- adding ---- */
static CUresult enter_to_add(CUgraph handle, const void *params, trcpu_graph **graph) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *graph = trcpu_handle_find(TRCPU_GRAPH, handle);
    return *graph && params ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

/* Takes the work, and leaves. */
static CUresult add(trcpu_graph *graph, CUgraphNodeType type, const CUgraphNode *dependencies, size_t count,
                    trcpu_work *work, trcpu_graph *child, CUgraphNode *out) {
    trcpu_node **after = NULL, *node = NULL;
    CUresult result = out ? trcpu_nodes_find(dependencies, count, graph, &after) : CUDA_ERROR_INVALID_VALUE;
    if (result)
        trcpu_work_release(work);
    else
        result = trcpu_graph_add(graph, type, after, count, work, &node);
    free(after);
    if (!result) {
        node->child = child;
        *out = node->handle;
    } else if (child) {
        trcpu_graph_delete(child);
    }
    return trcpu_leave(result);
}

CUresult trcpu_node_kernel(const CUDA_KERNEL_NODE_PARAMS_v2 *params, const trcpu_kernel_work *like,
                           trcpu_work **out) {
    CUfunction function = params->func ? params->func : (CUfunction)(void *)params->kern;
    trcpu_callable *callable = trcpu_callable_find(function);
    if (!callable || (params->ctx && params->ctx != callable->loaded->context->handle))
        return CUDA_ERROR_INVALID_VALUE;
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
    return trcpu_kernel_make(callable, &config, params->kernelParams, params->extra, like, out);
}

CUDA_KERNEL_NODE_PARAMS_v2 trcpu_node_params(const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
    return (CUDA_KERNEL_NODE_PARAMS_v2){params->func,
                                        params->gridDimX,
                                        params->gridDimY,
                                        params->gridDimZ,
                                        params->blockDimX,
                                        params->blockDimY,
                                        params->blockDimZ,
                                        params->sharedMemBytes,
                                        params->kernelParams,
                                        params->extra,
                                        NULL,
                                        NULL};
}

CUresult cuGraphAddKernelNode_v2(CUgraphNode *out, CUgraph handle, const CUgraphNode *dependencies,
                                 size_t count, const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
    trcpu_graph *graph;
    trcpu_work *work;
    CUresult result = enter_to_add(handle, params, &graph);
    if (result) return result;
    result = trcpu_node_kernel(params, NULL, &work);
    if (result) return trcpu_leave(result);
    return add(graph, CU_GRAPH_NODE_TYPE_KERNEL, dependencies, count, work, NULL, out);
}

CUresult cuGraphAddKernelNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                              const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
    if (!params) return CUDA_ERROR_INVALID_VALUE;
    CUDA_KERNEL_NODE_PARAMS_v2 same = trcpu_node_params(params);
    return cuGraphAddKernelNode_v2(out, graph, dependencies, count, &same);
}

/* Host and empty nodes belong to no device; any context does. */
static CUresult make_plain(trcpu_work_kind kind, const CUDA_HOST_NODE_PARAMS *host, trcpu_work **out) {
    static const trcpu_context nowhere;
    if (host && !host->fn) return CUDA_ERROR_INVALID_VALUE;
    *out = trcpu_work_new(kind, &nowhere);
    if (!*out) return CUDA_ERROR_OUT_OF_MEMORY;
    if (host) {
        (*out)->as.host.fn = host->fn;
        (*out)->as.host.user = host->userData;
    }
    return CUDA_SUCCESS;
}

CUresult trcpu_node_work(CUgraphNodeType type, CUcontext handle, const void *params, trcpu_work **out) {
    if (type == CU_GRAPH_NODE_TYPE_HOST) return make_plain(TRCPU_WORK_HOST, params, out);
    if (type == CU_GRAPH_NODE_TYPE_EMPTY) return make_plain(TRCPU_WORK_EMPTY, NULL, out);
    trcpu_context *context;
    CUresult result = trcpu_context_find(handle, &context);
    if (result) return result;
    return type == CU_GRAPH_NODE_TYPE_MEMCPY ? trcpu_copy_make(context, params, false, out)
                                             : trcpu_fill_make(context, params, out);
}

static CUresult add_of(CUgraphNode *out, CUgraph handle, CUgraphNodeType type,
                       const CUgraphNode *dependencies, size_t count, const void *params, CUcontext context) {
    trcpu_graph *graph;
    trcpu_work *work;
    CUresult result = enter_to_add(handle, params, &graph);
    if (result) return result;
    result = trcpu_node_work(type, context, params, &work);
    return result ? trcpu_leave(result) : add(graph, type, dependencies, count, work, NULL, out);
}

CUresult cuGraphAddMemcpyNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                              const CUDA_MEMCPY3D *params, CUcontext context) {
    return add_of(out, graph, CU_GRAPH_NODE_TYPE_MEMCPY, dependencies, count, params, context);
}

CUresult cuGraphAddMemsetNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                              const CUDA_MEMSET_NODE_PARAMS *params, CUcontext context) {
    return add_of(out, graph, CU_GRAPH_NODE_TYPE_MEMSET, dependencies, count, params, context);
}

CUresult cuGraphAddHostNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                            const CUDA_HOST_NODE_PARAMS *params) {
    return add_of(out, graph, CU_GRAPH_NODE_TYPE_HOST, dependencies, count, params, NULL);
}

CUresult cuGraphAddEmptyNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count) {
    return add_of(out, graph, CU_GRAPH_NODE_TYPE_EMPTY, dependencies, count, out, NULL);
}

CUresult cuGraphAddChildGraphNode(CUgraphNode *out, CUgraph handle, const CUgraphNode *dependencies,
                                  size_t count, CUgraph child_handle) {
    trcpu_graph *graph;
    CUresult result = enter_to_add(handle, out, &graph);
    if (result) return result;
    const trcpu_graph *child = trcpu_handle_find(TRCPU_GRAPH, child_handle);
    if (!child || child == graph) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    trcpu_graph *clone = trcpu_graph_clone(child);
    if (!clone) return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    clone->owned = true;
    return add(graph, CU_GRAPH_NODE_TYPE_GRAPH, dependencies, count, NULL, clone, out);
}

/* ---- asking and changing ---- */
static CUresult enter_node(CUgraphNode handle, CUgraphNodeType type, const void *params, trcpu_node **node) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *node = trcpu_handle_find(TRCPU_NODE, handle);
    bool good = *node && params && (*node)->type == type;
    return good ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

/* Instantiations keep the work that the node had. */
static CUresult replace(trcpu_node *node, CUresult result, trcpu_work *work) {
    if (result) return trcpu_leave(result);
    trcpu_work_release(node->work);
    node->work = work;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode handle, CUgraph *out) {
    trcpu_node *node;
    CUresult result = enter_node(handle, CU_GRAPH_NODE_TYPE_GRAPH, out, &node);
    if (result) return result;
    *out = node->child->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS_v2 *params) {
    trcpu_node *node;
    CUresult result = enter_node(handle, CU_GRAPH_NODE_TYPE_KERNEL, params, &node);
    if (result) return result;
    const trcpu_kernel_work *kernel = &node->work->as.kernel;
    *params = (CUDA_KERNEL_NODE_PARAMS_v2){.func = kernel->callable->handle,
                                           .gridDimX = kernel->grid[0],
                                           .gridDimY = kernel->grid[1],
                                           .gridDimZ = kernel->grid[2],
                                           .blockDimX = kernel->block[0],
                                           .blockDimY = kernel->block[1],
                                           .blockDimZ = kernel->block[2],
                                           .sharedMemBytes = kernel->shared,
                                           .kernelParams = kernel->pointers,
                                           .ctx = node->work->context};
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1 *params) {
    CUDA_KERNEL_NODE_PARAMS_v2 all;
    CUresult result = params ? cuGraphKernelNodeGetParams_v2(node, &all) : CUDA_ERROR_INVALID_VALUE;
    if (!result)
        *params = (CUDA_KERNEL_NODE_PARAMS_v1){
            all.func,      all.gridDimX,  all.gridDimY,       all.gridDimZ,     all.blockDimX,
            all.blockDimY, all.blockDimZ, all.sharedMemBytes, all.kernelParams, NULL};
    return result;
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode handle, const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
    trcpu_node *node;
    trcpu_work *work = NULL;
    CUresult result = enter_node(handle, CU_GRAPH_NODE_TYPE_KERNEL, params, &node);
    if (result) return result;
    result = trcpu_node_kernel(params, &node->work->as.kernel, &work);
    return replace(node, result, work);
}

CUresult cuGraphKernelNodeSetParams(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
    if (!params) return CUDA_ERROR_INVALID_VALUE;
    CUDA_KERNEL_NODE_PARAMS_v2 same = trcpu_node_params(params);
    return cuGraphKernelNodeSetParams_v2(node, &same);
}

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode handle, CUkernelNodeAttrID attribute,
                                       CUkernelNodeAttrValue *value) {
    trcpu_node *node;
    CUresult result = enter_node(handle, CU_GRAPH_NODE_TYPE_KERNEL, value, &node);
    if (result) return result;
    return trcpu_leave(trcpu_kernel_attribute(&node->work->as.kernel, attribute, value));
}

CUresult cuGraphKernelNodeSetAttribute(CUgraphNode handle, CUkernelNodeAttrID attribute,
                                       const CUkernelNodeAttrValue *value) {
    trcpu_node *node;
    trcpu_work *work = NULL;
    CUresult result = enter_node(handle, CU_GRAPH_NODE_TYPE_KERNEL, value, &node);
    if (result) return result;
    CUlaunchAttribute change = {.id = attribute, .value = *value};
    result = trcpu_kernel_remake(node->work, &change, &work);
    return replace(node, result, work);
}

CUresult cuGraphKernelNodeCopyAttributes(CUgraphNode to, CUgraphNode from) {
    static const CUlaunchAttributeID IDS[] = {CU_LAUNCH_ATTRIBUTE_COOPERATIVE, CU_LAUNCH_ATTRIBUTE_PRIORITY,
                                              CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION};
    for (size_t i = 0; i < sizeof IDS / sizeof IDS[0]; i++) {
        CUlaunchAttributeValue value;
        CUresult result = cuGraphKernelNodeGetAttribute(from, IDS[i], &value);
        bool unset = IDS[i] == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION && !value.clusterDim.x;
        if (!result && !unset) result = cuGraphKernelNodeSetAttribute(to, IDS[i], &value);
        if (result) return result;
    }
    return CUDA_SUCCESS;
}

/* Nodes whose parameters are kept as they came: a copy's, a fill's, a host function's. */
static CUresult get_params(CUgraphNode handle, CUgraphNodeType type, void *params) {
    trcpu_node *node;
    CUresult result = enter_node(handle, type, params, &node);
    if (result) return result;
    const trcpu_work *work = node->work;
    if (type == CU_GRAPH_NODE_TYPE_MEMCPY)
        *(CUDA_MEMCPY3D *)params = work->as.copy.shape;
    else if (type == CU_GRAPH_NODE_TYPE_MEMSET)
        *(CUDA_MEMSET_NODE_PARAMS *)params = work->as.fill.params;
    else
        *(CUDA_HOST_NODE_PARAMS *)params = (CUDA_HOST_NODE_PARAMS){work->as.host.fn, work->as.host.user};
    return trcpu_leave(CUDA_SUCCESS);
}

static CUresult set_params(CUgraphNode handle, CUgraphNodeType type, const void *params) {
    trcpu_node *node;
    trcpu_work *work = NULL;
    CUresult result = enter_node(handle, type, params, &node);
    if (result) return result;
    result = trcpu_node_work(type, node->work->context, params, &work);
    return replace(node, result, work);
}

CUresult cuGraphMemcpyNodeGetParams(CUgraphNode node, CUDA_MEMCPY3D *params) {
    return get_params(node, CU_GRAPH_NODE_TYPE_MEMCPY, params);
}

CUresult cuGraphMemcpyNodeSetParams(CUgraphNode node, const CUDA_MEMCPY3D *params) {
    return set_params(node, CU_GRAPH_NODE_TYPE_MEMCPY, params);
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode node, CUDA_MEMSET_NODE_PARAMS *params) {
    return get_params(node, CU_GRAPH_NODE_TYPE_MEMSET, params);
}

CUresult cuGraphMemsetNodeSetParams(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *params) {
    return set_params(node, CU_GRAPH_NODE_TYPE_MEMSET, params);
}

CUresult cuGraphHostNodeGetParams(CUgraphNode node, CUDA_HOST_NODE_PARAMS *params) {
    return get_params(node, CU_GRAPH_NODE_TYPE_HOST, params);
}

CUresult cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS *params) {
    return set_params(node, CU_GRAPH_NODE_TYPE_HOST, params);
}
