/* Entries → graph. */
#include "launch/plan.h"

#include "launch/launch.h"
#include "launch/plan_update.h"
#include "runner.h"

#include <stdlib.h>
#include <string.h>

static CUDA_KERNEL_NODE_PARAMS_v2 kernel_params(const tr__entry *entry) {
    const CUlaunchConfig *launch = &entry->instance->launch;
    const uint32_t *grid = entry->config.grid, *spread = entry->kernel->spread;
    /* An entry that is switched off because its grid is empty still must be one that the driver takes. */
    bool empty = !grid[0] || !grid[1] || !grid[2];
    return (CUDA_KERNEL_NODE_PARAMS_v2){
        .func = entry->instance->function,
        .gridDimX = empty ? spread[0] : grid[0] * spread[0],
        .gridDimY = empty ? spread[1] : grid[1] * spread[1],
        .gridDimZ = empty ? spread[2] : grid[2] * spread[2],
        .blockDimX = launch->blockDimX,
        .blockDimY = launch->blockDimY,
        .blockDimZ = launch->blockDimZ,
        .sharedMemBytes = launch->sharedMemBytes,
        .kernelParams = entry->pointers,
    };
}

static CUDA_MEMCPY3D copy_params(const tr__entry *entry) {
    return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                           .srcDevice = entry->from,
                           .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                           .dstDevice = entry->to,
                           .WidthInBytes = entry->bytes,
                           .Height = 1,
                           .Depth = 1};
}

static CUDA_MEMSET_NODE_PARAMS fill_params(const tr__entry *entry) {
    return (CUDA_MEMSET_NODE_PARAMS){
        .dst = entry->to, .value = entry->value, .elementSize = 1, .width = entry->bytes, .height = 1};
}

static tr_status fail_entry(const tr_plan *plan, const tr__entry *entry, CUresult result, const char *call,
                            tr_error **error) {
    tr_status status = tr__driver_fail(plan->driver, result, call, error);
    uint32_t index = (uint32_t)(entry - plan->entries);
    if (entry->kernel)
        tr__error_prefix(error, "entry %u of the plan, kernel '%s'", index, entry->kernel->record->kernel);
    else
        tr__error_prefix(error, "entry %u of the plan", index);
    return status;
}

/* ---- what changed ---- */

static CUresult set_params(const tr_plan *plan, const tr__entry *entry) {
    const tr__driver *driver = plan->driver;
    CUcontext context = plan->context.handle;
    switch (entry->kind) {
    case TR__ENTRY_KERNEL: {
        CUDA_KERNEL_NODE_PARAMS_v2 params = kernel_params(entry);
        return driver->cuGraphExecKernelNodeSetParams(plan->exec, entry->node, &params);
    }
    case TR__ENTRY_COPY: {
        CUDA_MEMCPY3D params = copy_params(entry);
        return driver->cuGraphExecMemcpyNodeSetParams(plan->exec, entry->node, &params, context);
    }
    default: {
        CUDA_MEMSET_NODE_PARAMS params = fill_params(entry);
        return driver->cuGraphExecMemsetNodeSetParams(plan->exec, entry->node, &params, context);
    }
    }
}

/* False when the exec graph can't be brought there. */
static bool update_entry(const tr_plan *plan, tr__entry *entry) {
    bool runs = tr__entry_runs(entry);
    if (runs && set_params(plan, entry)) return false;
    if (runs == entry->enabled) return true;
    if (entry->linked || !plan->driver->cuGraphNodeSetEnabled ||
        plan->driver->cuGraphNodeSetEnabled(plan->exec, entry->node, runs))
        return false;
    entry->enabled = runs;
    return true;
}

static bool update(tr_plan *plan) {
    if (plan->updater && !tr__updater_tell(plan)) return false;
    while (plan->dirty_count) {
        tr__entry *entry = &plan->entries[plan->dirty[plan->dirty_count - 1]];
        if (!tr__updater_tells(plan, entry) && !update_entry(plan, entry)) return false;
        entry->dirty = false;
        plan->dirty_count--;
    }
    return true;
}

/* ---- all anew ---- */

static CUresult add_attributes(const tr__driver *driver, const tr__entry *entry) {
    CUlaunchConfig launch = entry->instance->launch;
    CUlaunchAttribute room[TR__LAUNCH_ATTRIBUTES];
    CUresult result = CUDA_SUCCESS;
    tr__launch_override(&launch, entry->kernel, &entry->config, room);
    for (unsigned i = 0; i < launch.numAttrs && !result; i++) {
        /* In a graph this is a kind of edge, not an attribute. */
        if (room[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) continue;
        result = driver->cuGraphKernelNodeSetAttribute(entry->node, room[i].id, &room[i].value);
    }
    return result;
}

/* May the kernel begin before that entry has ended? An entry that is off is passed through by full edges only. */
static bool may_overlap(const tr_plan *plan, const tr__entry *entry, const tr__entry *earlier) {
    return entry->overlaps && earlier->kind == TR__ENTRY_KERNEL && plan->driver->cuGraphAddDependencies &&
           tr__entry_runs(entry) && tr__entry_runs(earlier);
}

static CUresult link_programmatic(tr_plan *plan, CUgraph graph, tr__entry *entry) {
    static const CUgraphEdgeData edge = {.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC,
                                         .type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC};
    CUresult result = CUDA_SUCCESS;
    for (uint32_t i = 0; i < entry->after_count && !result; i++) {
        tr__entry *earlier = &plan->entries[entry->after[i]];
        if (!may_overlap(plan, entry, earlier)) continue;
        result = plan->driver->cuGraphAddDependencies(graph, &earlier->node, &entry->node, &edge, 1);
        entry->linked = earlier->linked = true;
    }
    return result;
}

static CUresult add_kernel(tr_plan *plan, CUgraph graph, tr__entry *entry, const CUgraphNode *after,
                           size_t count) {
    CUDA_KERNEL_NODE_PARAMS_v2 params = kernel_params(entry);
    CUresult result = plan->driver->cuGraphAddKernelNode(&entry->node, graph, after, count, &params);
    if (!result) result = add_attributes(plan->driver, entry);
    if (!result && plan->updater) result = tr__updater_adopt(plan, entry);
    return result || !entry->overlaps ? result : link_programmatic(plan, graph, entry);
}

/* What the graph has for an entry: something that can be switched off and on, or a place to pass through. */
static bool has_work(const tr_plan *plan, const tr__entry *entry) {
    if (!plan->driver->cuGraphNodeSetEnabled) return tr__entry_runs(entry);
    return entry->kind == TR__ENTRY_KERNEL || entry->bytes;
}

static CUresult add_node(tr_plan *plan, CUgraph graph, tr__entry *entry, const CUgraphNode *after,
                         size_t count) {
    const tr__driver *driver = plan->driver;
    CUcontext context = plan->context.handle;
    if (!has_work(plan, entry)) return driver->cuGraphAddEmptyNode(&entry->node, graph, after, count);
    if (entry->kind == TR__ENTRY_KERNEL) return add_kernel(plan, graph, entry, after, count);
    if (entry->kind == TR__ENTRY_COPY) {
        CUDA_MEMCPY3D params = copy_params(entry);
        return driver->cuGraphAddMemcpyNode(&entry->node, graph, after, count, &params, context);
    }
    CUDA_MEMSET_NODE_PARAMS params = fill_params(entry);
    return driver->cuGraphAddMemsetNode(&entry->node, graph, after, count, &params, context);
}

static tr_status add_nodes(tr_plan *plan, CUgraph graph, tr_error **error) {
    CUgraphNode *after = malloc((plan->count + 1) * sizeof *after), head = NULL;
    tr_status status = after ? TR_OK : tr__fail_out_of_memory(error);
    CUresult result = status || !plan->updater ? CUDA_SUCCESS : tr__updater_add_head(plan, graph, &head);
    if (result) status = tr__driver_fail(plan->driver, result, "adding to the graph", error);
    for (uint32_t i = 0; !status && i < plan->count; i++) {
        tr__entry *entry = &plan->entries[i];
        size_t count = 0;
        entry->linked = false;
        for (uint32_t j = 0; j < entry->after_count; j++) {
            const tr__entry *earlier = &plan->entries[entry->after[j]];
            if (!may_overlap(plan, entry, earlier)) after[count++] = earlier->node;
        }
        if (head && !entry->after_count) after[count++] = head;
        result = add_node(plan, graph, entry, after, count);
        if (result) status = fail_entry(plan, entry, result, "adding to the graph", error);
        entry->enabled = has_work(plan, entry);
    }
    free(after);
    return status;
}

static tr_status switch_off(tr_plan *plan, CUgraphExec exec, tr_error **error) {
    plan->head_runs = false;
    if (plan->updater) {
        CUresult result = tr__updater_rest(plan, exec);
        if (result) return tr__driver_fail(plan->driver, result, "cuGraphNodeSetEnabled", error);
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        tr__entry *entry = &plan->entries[i];
        if (!entry->enabled || tr__entry_runs(entry)) continue;
        CUresult result = plan->driver->cuGraphNodeSetEnabled(exec, entry->node, 0);
        if (result) return fail_entry(plan, entry, result, "cuGraphNodeSetEnabled", error);
        entry->enabled = false;
    }
    return TR_OK;
}

static tr_status build(tr_plan *plan, tr_error **error) {
    tr__driver *driver = plan->driver;
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUresult result = driver->cuGraphCreate(&graph, 0);
    if (result) return tr__driver_fail(driver, result, "cuGraphCreate", error);
    tr_status status = add_nodes(plan, graph, error);
    if (!status) {
        result = driver->cuGraphInstantiateWithFlags(&exec, graph, 0);
        if (result) status = tr__driver_fail(driver, result, "cuGraphInstantiateWithFlags", error);
    }
    if (!status) status = switch_off(plan, exec, error);
    if (status) {
        if (exec) driver->cuGraphExecDestroy(exec);
        driver->cuGraphDestroy(graph);
        return status;
    }
    plan->graph = graph;
    plan->exec = exec;
    plan->rebuilt = true;
    __atomic_fetch_add(&plan->runner->plan_builds, 1, __ATOMIC_RELAXED);
    return TR_OK;
}

void tr__plan_drop_graph(tr_plan *plan) {
    if (plan->exec) {
        tr__driver_give_back(plan->driver, plan->context, TR__GRAPH_EXEC, (uintptr_t)plan->exec);
        tr__driver_give_back(plan->driver, plan->context, TR__GRAPH, (uintptr_t)plan->graph);
    }
    plan->exec = NULL;
    plan->graph = NULL;
    for (uint32_t i = 0; i < plan->dirty_count; i++) plan->entries[plan->dirty[i]].dirty = false;
    plan->dirty_count = 0;
}

static tr_status build_anew(tr_plan *plan, tr_error **error) {
    tr__plan_drop_graph(plan);
    tr_status status = build(plan, error);
    if (!status || !plan->updater) return status;
    tr__updater_destroy(plan); /* not every kernel can be changed on the device */
    if (error) tr_error_destroy(*error);
    tr__error_clear(error);
    return build(plan, error);
}

/* A failed build leaves the plan without a graph, and the next launch builds it: the entries are what counts. */
tr_status tr__plan_bring_up_to_date(tr_plan *plan, tr_error **error) {
    if (plan->exec && update(plan)) return TR_OK;
    bool refused = plan->exec && plan->updater && tr__updater_refused(plan->updater);
    if (refused) tr__updater_destroy(plan);
    tr_status status = build_anew(plan, error);
    if (!status && refused)
        status =
            tr__fail(error, TR_E_DRIVER,
                     "the device refused what an earlier launch of the plan changed, so that it ran with old "
                     "values; later changes are told by the host, launch again");
    return status;
}
