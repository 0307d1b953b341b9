#include "launch/plan_update.h"

#include "runner.h"

#include <stdlib.h>
#include <string.h>

/* cudaGraphKernelNodeUpdate */
enum { FIELD_GRID = 1, FIELD_PARAMS = 2, FIELD_ENABLED = 3 };
typedef struct update {
    uint64_t node;
    uint32_t field, pad;
    union {
        uint32_t grid[3], enabled;
        struct {
            uint64_t value, offset, size;
        } params;
    } to;
} update;
_Static_assert(sizeof(update) == 40, "as CUDA has it");

/* Of one entry, for one thread. */
typedef struct told {
    uint64_t count;
    update updates[3];
} told;
_Static_assert(sizeof(told) == 128, "as the kernel below has it");

/* What one launch is told; free again when the kernel has written the ticket. */
typedef struct slot {
    struct slot *next;
    uint32_t ticket;
    size_t size;
    struct page {
        uint32_t done, refused, pad[2];
        told entries[];
    } * page; /* the host's memory, which the device reads */
} slot;

struct tr__updater {
    CUmodule module;
    CUfunction function;
    CUgraphNode head;
    bool refused; /* the device could not do it */
    uint32_t ticket;
    slot *slots;
};

/* ---- making and ending ---- */

static bool load(tr_plan *plan, tr__updater *updater) {
    tr__driver *driver = plan->driver;
    int major = 0, minor = 0;
    driver->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, driver->device);
    driver->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, driver->device);
    const tr__blob *image = tr__updater_image(plan, 10 * major + minor);
    return image && !driver->cuModuleLoadData(&updater->module, image->data) &&
           !driver->cuModuleGetFunction(&updater->function, updater->module, "tell");
}

void tr__updater_create(tr_plan *plan) {
    tr__driver *driver = plan->driver;
    tr__scope scope;
    bool able = !driver->cpu && driver->version >= 12040 && driver->cuLinkCreate && driver->cuLinkAddData &&
                driver->cuLinkComplete && driver->cuLinkDestroy && driver->cuGraphKernelNodeGetAttribute &&
                driver->cuGraphNodeSetEnabled;
    tr__updater *updater = able ? calloc(1, sizeof *updater) : NULL;
    if (!updater || !tr__driver_enter_context(driver, plan->context, &scope)) {
        free(updater);
        return;
    }
    CUstreamCaptureMode before = tr__driver_relax(driver);
    plan->updater = updater;
    if (!load(plan, updater)) tr__updater_destroy(plan);
    tr__driver_relax_end(driver, before);
    tr__driver_leave(driver, &scope);
}

static bool is_free(const slot *slot) {
    return __atomic_load_n(&slot->page->done, __ATOMIC_ACQUIRE) == slot->ticket;
}

void tr__updater_destroy(tr_plan *plan) {
    tr__driver *driver = plan->driver;
    tr__updater *updater = plan->updater;
    tr__scope scope;
    plan->updater = NULL;
    if (!updater) return;
    bool alive = tr__driver_enter_context(driver, plan->context, &scope), busy = false;
    CUstreamCaptureMode before = tr__driver_relax(driver);
    for (slot *slot = updater->slots; slot; slot = slot->next) busy |= !is_free(slot);
    if (alive && busy) driver->cuCtxSynchronize();
    for (slot *slot = updater->slots, *next; slot; slot = next) {
        next = slot->next;
        driver->cuMemFreeHost(slot->page);
        free(slot);
    }
    if (alive && updater->module) driver->cuModuleUnload(updater->module);
    tr__driver_relax_end(driver, before);
    if (alive) tr__driver_leave(driver, &scope);
    free(updater);
}

/* ---- the graph ---- */

static CUDA_KERNEL_NODE_PARAMS_v2 head_params(const tr__updater *updater, void **params) {
    return (CUDA_KERNEL_NODE_PARAMS_v2){.func = updater->function,
                                        .gridDimX = 1,
                                        .gridDimY = 1,
                                        .gridDimZ = 1,
                                        .blockDimX = 256,
                                        .blockDimY = 1,
                                        .blockDimZ = 1,
                                        .kernelParams = params};
}

CUresult tr__updater_add_head(tr_plan *plan, CUgraph graph, CUgraphNode *head) {
    struct page *page = NULL;
    uint32_t count = 0, ticket = 0;
    void *values[] = {&page, &count, &ticket};
    CUDA_KERNEL_NODE_PARAMS_v2 params = head_params(plan->updater, values);
    CUresult result = plan->driver->cuGraphAddKernelNode(head, graph, NULL, 0, &params);
    plan->updater->head = *head;
    return result;
}

CUresult tr__updater_adopt(tr_plan *plan, tr__entry *entry) {
    const CUlaunchAttributeID id = CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE;
    CUlaunchAttributeValue value = {0};
    value.deviceUpdatableKernelNode.deviceUpdatable = 1;
    CUresult result =
        plan->driver->cuGraphKernelNodeSetAttribute(entry->node, id, &value); /* writes to it, too */
    if (!result && !value.deviceUpdatableKernelNode.devNode)
        result = plan->driver->cuGraphKernelNodeGetAttribute(entry->node, id, &value);
    entry->device_node = value.deviceUpdatableKernelNode.devNode;
    return result || entry->device_node ? result : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult tr__updater_rest(tr_plan *plan, CUgraphExec exec) {
    return plan->driver->cuGraphNodeSetEnabled(exec, plan->updater->head, 0);
}

/* ---- telling ---- */

bool tr__updater_refused(const tr__updater *updater) {
    return updater->refused;
}

/* Of one entry: 128 bytes of what to do, and its arguments. */
static size_t params_size(const tr__entry *entry) {
    const tr__pack *pack = entry->kernel->pack;
    const tr__element *last = pack->element_count ? &pack->elements[pack->element_count - 1] : NULL;
    return last ? last->offset + last->size : 0;
}

static size_t round_up(size_t size) {
    return (size + 15) / 16 * 16;
}

static slot *take_slot(tr_plan *plan, size_t size) {
    tr__updater *updater = plan->updater;
    slot *slot = updater->slots;
    for (; slot; slot = slot->next) {
        if (!is_free(slot)) continue;
        updater->refused |= slot->page->refused != 0;
        if (slot->size >= size) return slot;
    }
    if (!(slot = calloc(1, sizeof *slot))) return NULL;
    CUstreamCaptureMode before = tr__driver_relax(plan->driver);
    CUresult result = plan->driver->cuMemHostAlloc((void **)&slot->page, size,
                                                   CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
    tr__driver_relax_end(plan->driver, before);
    if (result) {
        free(slot);
        return NULL;
    }
    memset(slot->page, 0, sizeof *slot->page);
    slot->size = size;
    slot->next = updater->slots;
    return updater->slots = slot;
}

static void write_entry(told *told, tr__entry *entry, char *params) {
    bool runs = tr__entry_runs(entry);
    size_t size = params_size(entry);
    update *at = told->updates;
    if (runs) {
        *at = (update){.node = entry->device_node, .field = FIELD_GRID};
        for (int i = 0; i < 3; i++) at->to.grid[i] = entry->config.grid[i] * entry->kernel->spread[i];
        at++;
    }
    if (runs && size) {
        memcpy(params, entry->buffer, size);
        *at++ = (update){.node = entry->device_node,
                         .field = FIELD_PARAMS,
                         .to.params = {(uint64_t)(uintptr_t)params, 0, size}};
    }
    if (runs != entry->enabled)
        *at++ = (update){.node = entry->device_node, .field = FIELD_ENABLED, .to.enabled = runs};
    entry->enabled = runs;
    told->count = (uint64_t)(at - told->updates);
}

static bool switch_head(tr_plan *plan, bool on) {
    if (plan->head_runs == on) return true;
    if (plan->driver->cuGraphNodeSetEnabled(plan->exec, plan->updater->head, on)) return false;
    plan->head_runs = on;
    return true;
}

bool tr__updater_tell(tr_plan *plan) {
    size_t size = sizeof(struct page);
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->dirty_count; i++) {
        const tr__entry *entry = &plan->entries[plan->dirty[i]];
        if (entry->kind != TR__ENTRY_KERNEL) continue;
        if (entry->linked && tr__entry_runs(entry) != entry->enabled) return false;
        size += sizeof(told) + round_up(params_size(entry));
        count++;
    }
    if (!count) return switch_head(plan, false);
    slot *slot = take_slot(plan, size);
    if (!slot || plan->updater->refused) return false;
    char *params = (char *)&slot->page->entries[count];
    for (uint32_t i = 0, at = 0; i < plan->dirty_count; i++) {
        tr__entry *entry = &plan->entries[plan->dirty[i]];
        if (entry->kind != TR__ENTRY_KERNEL) continue;
        write_entry(&slot->page->entries[at++], entry, params);
        params += round_up(params_size(entry));
    }
    uint32_t ticket = ++plan->updater->ticket;
    void *values[] = {&slot->page, &count, &ticket};
    CUDA_KERNEL_NODE_PARAMS_v2 head = head_params(plan->updater, values);
    if (plan->driver->cuGraphExecKernelNodeSetParams(plan->exec, plan->updater->head, &head)) return false;
    slot->ticket = ticket; /* not free until the kernel says so */
    __atomic_fetch_add(&plan->runner->plan_updates, 1, __ATOMIC_RELAXED);
    return switch_head(plan, true);
}
