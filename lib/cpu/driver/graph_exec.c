/* Instantiated graphs: the works in an order that their dependencies allow. A launch takes the works as they
   are now, so what is set afterwards is for the next one. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

typedef struct slot {
    CUgraphNode node;
    CUgraphNodeType type;
    trcpu_work *work;
    size_t order;
    bool enabled;
} slot;

typedef struct exec {
    CUgraphExec handle;
    slot *slots;   /* sorted by node, for it is by node that they are changed */
    size_t *order; /* slots in the order they run */
    size_t count;
    trcpu_keep *keep;
    cuuint64_t flags;
    trcpu_mark *last; /* the last launch's end; NULL: none yet */
} exec;

/* ---- instantiation ---- */
static size_t count_nodes(const trcpu_graph *graph) {
    size_t count = 0;
    for (size_t i = 0; i < graph->node_count; i++)
        count += graph->nodes[i]->child ? count_nodes(graph->nodes[i]->child) : 1;
    return count;
}

static void append(exec *made, const trcpu_node *node) {
    made->slots[made->count] =
        (slot){node->handle, node->type, trcpu_work_retain(node->work), made->count, true};
    made->count++;
}

static bool ready(const trcpu_node *node) {
    for (size_t i = 0; i < node->after_count; i++)
        if (!node->after[i]->visited) return false;
    return true;
}

/* Rounds over the nodes not yet taken; the order of their making is nearly always good in the first. */
static bool flatten(exec *made, const trcpu_graph *graph) {
    size_t taken = 0;
    for (size_t i = 0; i < graph->node_count; i++) graph->nodes[i]->visited = false;
    for (bool progress = true; progress && taken < graph->node_count;) {
        progress = false;
        for (size_t i = 0; i < graph->node_count; i++) {
            trcpu_node *node = graph->nodes[i];
            if (node->visited || !ready(node)) continue;
            if (node->child) {
                if (!flatten(made, node->child)) return false;
            } else {
                append(made, node);
            }
            node->visited = progress = true;
            taken++;
        }
    }
    return taken == graph->node_count;
}

static int compare(const void *a, const void *b) {
    uintptr_t left = (uintptr_t)((const slot *)a)->node, right = (uintptr_t)((const slot *)b)->node;
    return left < right ? -1 : left > right;
}

static void delete_exec(exec *made) {
    for (size_t i = 0; i < made->count; i++) trcpu_work_release(made->slots[i].work);
    trcpu_keep_release(made->keep);
    trcpu_mark_release(made->last);
    free(made->slots);
    free(made->order);
    free(made);
}

static CUresult instantiate(const trcpu_graph *graph, cuuint64_t flags, exec **out) {
    size_t count = count_nodes(graph);
    exec *made = calloc(1, sizeof *made);
    if (!made) return CUDA_ERROR_OUT_OF_MEMORY;
    made->slots = malloc((count + 1) * sizeof *made->slots);
    made->order = malloc((count + 1) * sizeof *made->order);
    CUresult result = made->slots && made->order ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    if (!result && !flatten(made, graph)) result = CUDA_ERROR_INVALID_VALUE; /* a cycle */
    if (!result && !(made->handle = trcpu_handle_new(TRCPU_EXEC, made))) result = CUDA_ERROR_OUT_OF_MEMORY;
    if (result) {
        delete_exec(made);
        return result;
    }
    qsort(made->slots, made->count, sizeof *made->slots, compare);
    for (size_t i = 0; i < made->count; i++) made->order[made->slots[i].order] = i;
    made->keep = trcpu_keep_retain(graph->keep);
    made->flags = flags;
    *out = made;
    return CUDA_SUCCESS;
}

static CUresult instantiate_call(CUgraphExec *out, CUgraph handle, cuuint64_t flags) {
    CUresult result = trcpu_enter();
    if (result) return result;
    const trcpu_graph *graph = trcpu_handle_find(TRCPU_GRAPH, handle);
    if (!out || !graph || flags > 15) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) return trcpu_leave(CUDA_ERROR_NOT_SUPPORTED);
    exec *made;
    result = instantiate(graph, flags, &made);
    if (!result) *out = made->handle;
    return trcpu_leave(result);
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph graph, unsigned long long flags) {
    return instantiate_call(out, graph, flags);
}

CUresult cuGraphInstantiate_v2(CUgraphExec *out, CUgraph graph, CUgraphNode *error_node, char *log,
                               size_t log_size) {
    if (error_node) *error_node = NULL;
    if (log && log_size) log[0] = 0;
    return instantiate_call(out, graph, 0);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *out, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS *params) {
    if (!params) return CUDA_ERROR_INVALID_VALUE;
    CUresult result =
        instantiate_call(out, graph, params->flags & ~(cuuint64_t)CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD);
    params->hErrNode_out = NULL;
    params->result_out = result ? CUDA_GRAPH_INSTANTIATE_ERROR : CUDA_GRAPH_INSTANTIATE_SUCCESS;
    return result;
}

/* Enters, and finds the instantiation. */
static CUresult enter_exec(CUgraphExec handle, exec **found) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *found = trcpu_handle_find(TRCPU_EXEC, handle);
    return *found ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
    exec *made;
    CUresult result = enter_exec(handle, &made);
    if (result) return result;
    trcpu_handle_delete(handle);
    delete_exec(made);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphExecGetFlags(CUgraphExec handle, cuuint64_t *flags) {
    exec *made;
    CUresult result = enter_exec(handle, &made);
    if (result) return result;
    if (!flags) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *flags = made->flags;
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- changing ---- */
static slot *find_slot(const exec *made, CUgraphNode node) {
    slot key = {.node = node};
    return made->count ? bsearch(&key, made->slots, made->count, sizeof key, compare) : NULL;
}

static CUresult enter_slot(CUgraphExec handle, CUgraphNode node, CUgraphNodeType type, const void *params,
                           slot **found) {
    exec *made;
    CUresult result = enter_exec(handle, &made);
    if (result) return result;
    *found = find_slot(made, node);
    bool good = *found && params && (*found)->type == type;
    return good ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

static CUresult replace(slot *at, CUresult result, trcpu_work *work) {
    if (!result) {
        trcpu_work_release(at->work);
        at->work = work;
    }
    return trcpu_leave(result);
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec handle, CUgraphNode node,
                                           const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
    slot *at;
    trcpu_work *work = NULL;
    CUresult result = enter_slot(handle, node, CU_GRAPH_NODE_TYPE_KERNEL, params, &at);
    if (result) return result;
    result = trcpu_node_kernel(params, &at->work->as.kernel, &work);
    if (!result && work->context_id != at->work->context_id) {
        trcpu_work_release(work);
        result = CUDA_ERROR_INVALID_VALUE; /* a node stays in its context */
    }
    return replace(at, result, work);
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
    if (!params) return CUDA_ERROR_INVALID_VALUE;
    CUDA_KERNEL_NODE_PARAMS_v2 same = trcpu_node_params(params);
    return cuGraphExecKernelNodeSetParams_v2(exec, node, &same);
}

static CUresult set_params(CUgraphExec handle, CUgraphNode node, CUgraphNodeType type, const void *params,
                           CUcontext context) {
    slot *at;
    trcpu_work *work = NULL;
    CUresult result = enter_slot(handle, node, type, params, &at);
    if (result) return result;
    result = trcpu_node_work(type, context, params, &work);
    return replace(at, result, work);
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *params,
                                        CUcontext context) {
    return set_params(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, params, context);
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMSET_NODE_PARAMS *params, CUcontext context) {
    return set_params(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, params, context);
}

CUresult cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                      const CUDA_HOST_NODE_PARAMS *params) {
    return set_params(exec, node, CU_GRAPH_NODE_TYPE_HOST, params, NULL);
}

static bool may_be_disabled(CUgraphNodeType type) {
    return type == CU_GRAPH_NODE_TYPE_KERNEL || type == CU_GRAPH_NODE_TYPE_MEMCPY ||
           type == CU_GRAPH_NODE_TYPE_MEMSET;
}

CUresult cuGraphNodeSetEnabled(CUgraphExec handle, CUgraphNode node, unsigned int enabled) {
    exec *made;
    CUresult result = enter_exec(handle, &made);
    if (result) return result;
    slot *at = find_slot(made, node);
    if (!at || !may_be_disabled(at->type)) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    at->enabled = enabled != 0;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphNodeGetEnabled(CUgraphExec handle, CUgraphNode node, unsigned int *enabled) {
    exec *made;
    CUresult result = enter_exec(handle, &made);
    if (result) return result;
    const slot *at = find_slot(made, node);
    if (!at || !enabled || !may_be_disabled(at->type)) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *enabled = at->enabled;
    return trcpu_leave(CUDA_SUCCESS);
}

/* A graph of the same shape takes the instantiation's place: nodes are matched in the order they run, and the
   instantiation goes on answering to the nodes it was made of. */
static CUgraphExecUpdateResult update(exec *made, const trcpu_graph *graph, CUgraphNode *error_node) {
    exec *other = NULL;
    if (count_nodes(graph) != made->count) return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    if (instantiate(graph, made->flags, &other)) return CU_GRAPH_EXEC_UPDATE_ERROR;
    CUgraphExecUpdateResult result = CU_GRAPH_EXEC_UPDATE_SUCCESS;
    for (size_t i = 0; i < made->count && !result; i++) {
        const slot *from = &other->slots[other->order[i]];
        if (from->type == made->slots[made->order[i]].type) continue;
        *error_node = from->node;
        result = CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    }
    for (size_t i = 0; i < made->count && !result; i++) {
        slot *from = &other->slots[other->order[i]], *to = &made->slots[made->order[i]];
        trcpu_work *work = to->work;
        to->work = from->work;
        from->work = work;
    }
    trcpu_handle_delete(other->handle);
    delete_exec(other);
    return result;
}

static CUresult update_call(CUgraphExec handle, CUgraph graph_handle, CUgraphExecUpdateResultInfo *info) {
    exec *made;
    CUresult result = enter_exec(handle, &made);
    if (result) return result;
    const trcpu_graph *graph = trcpu_handle_find(TRCPU_GRAPH, graph_handle);
    if (!graph) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *info = (CUgraphExecUpdateResultInfo){0};
    info->result = update(made, graph, &info->errorNode);
    return trcpu_leave(info->result ? CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE : CUDA_SUCCESS);
}

CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info) {
    return info ? update_call(exec, graph, info) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error_node,
                           CUgraphExecUpdateResult *result) {
    CUgraphExecUpdateResultInfo info = {0};
    CUresult called = update_call(exec, graph, &info);
    if (error_node) *error_node = info.errorNode;
    if (result) *result = info.result;
    return called;
}

/* ---- launching ---- */
static CUresult make_work(const exec *made, const trcpu_context *context, trcpu_work **out) {
    trcpu_work *work = trcpu_work_new(TRCPU_WORK_GRAPH, context);
    if (!work) return CUDA_ERROR_OUT_OF_MEMORY;
    work->as.graph.works = malloc((made->count + 1) * sizeof *work->as.graph.works);
    CUresult result = work->as.graph.works ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < made->count && !result; i++) {
        const slot *at = &made->slots[made->order[i]];
        if (!at->enabled || at->work->kind == TRCPU_WORK_EMPTY) continue;
        if (at->work->kind != TRCPU_WORK_HOST && !trcpu_work_alive(at->work))
            result = CUDA_ERROR_CONTEXT_IS_DESTROYED;
        else
            work->as.graph.works[work->as.graph.count++] = trcpu_work_retain(at->work);
    }
    work->as.graph.keep = trcpu_keep_retain(made->keep);
    if (result)
        trcpu_work_release(work);
    else
        *out = work;
    return result;
}

/* Behind the stream's work, and behind the launch before of the same graph, on whichever stream that was. */
static CUresult submit(exec *made, trcpu_stream *stream, trcpu_work *work) {
    trcpu_mark *mark = trcpu_mark_new();
    if (!mark) {
        trcpu_work_release(work);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    trcpu_mark *before = made->last && !made->last->done ? trcpu_mark_retain(made->last) : NULL;
    CUresult result = trcpu_stream_push(stream, work, before, trcpu_mark_retain(mark));
    trcpu_mark_release(result ? mark : made->last);
    if (!result) made->last = mark;
    return result;
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
    trcpu_stream *stream;
    trcpu_work *work;
    CUresult result = trcpu_enter_stream(stream_handle, &stream);
    if (result) return result;
    exec *made = trcpu_handle_find(TRCPU_EXEC, handle);
    if (!made) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (stream->capture)
        return trcpu_leave(trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
    if (stream == stream->context->legacy) result = trcpu_capture_forbids_legacy(stream->context);
    if (!result) result = make_work(made, stream->context, &work);
    return trcpu_leave(result ? result : submit(made, stream, work));
}

CUresult cuGraphUpload(CUgraphExec handle, CUstream stream_handle) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(stream_handle, &stream);
    if (result) return result;
    return trcpu_leave(trcpu_handle_find(TRCPU_EXEC, handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}
