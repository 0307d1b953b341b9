#include "launch/plan_update.h"

#include "runner.h"

#include <stdlib.h>
#include <string.h>

/* Of one entry, for one warp. */
enum { RUNS = 1, SWITCHED = 2 };
typedef struct told {
    uint64_t node;
    uint32_t grid[3];
    uint32_t size; /* of its arguments */
    uint32_t state;
    uint32_t done; /* in the first record of each block: the ticket, when all of the block are applied */
    char params[];
} told;
_Static_assert(sizeof(told) == 32, "as the kernel has it");

enum {
    MOST_WARPS = 16,
    UPDATES = 128,
    SHARED = 40 << 10
}; /* bytes for what is made of a record; of a block's in all */

typedef struct telling { /* the kernel's parameters */
    struct page *page;
    uint32_t stride, count, ticket;
} telling;

/* What one launch is told; free again when each block of the kernel has written the ticket. */
typedef struct slot {
    struct slot *next;
    size_t size;
    telling telling;
    struct page {
        uint32_t refused, pad[3];
        char records[]; /* as far apart as the largest of them takes */
    } * page;           /* the host's memory, which the device reads */
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

/* Warps of a block: as many as have room, which even the largest record has. */
static uint32_t warps_of(const telling *telling) {
    uint32_t room = SHARED / (UPDATES + telling->stride);
    return room < MOST_WARPS ? room : MOST_WARPS;
}

static bool is_free(const slot *slot) {
    const telling *last = &slot->telling;
    uint32_t warps = warps_of(last);
    for (uint32_t i = 0; i < last->count; i += warps) {
        const told *first = (const told *)(slot->page->records + (size_t)i * last->stride);
        if (__atomic_load_n(&first->done, __ATOMIC_ACQUIRE) != last->ticket) return false;
    }
    return true;
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

static CUDA_KERNEL_NODE_PARAMS_v2 head_params(const tr__updater *updater, telling *telling,
                                              void *pointers[4]) {
    uint32_t warps = warps_of(telling);
    pointers[0] = &telling->page, pointers[1] = &telling->stride;
    pointers[2] = &telling->count, pointers[3] = &telling->ticket;
    return (CUDA_KERNEL_NODE_PARAMS_v2){.func = updater->function,
                                        .gridDimX = telling->count ? (telling->count + warps - 1) / warps : 1,
                                        .gridDimY = 1,
                                        .gridDimZ = 1,
                                        .blockDimX = 32 * warps,
                                        .blockDimY = 1,
                                        .blockDimZ = 1,
                                        .sharedMemBytes = warps * (UPDATES + telling->stride),
                                        .kernelParams = pointers};
}

CUresult tr__updater_add_head(tr_plan *plan, CUgraph graph, CUgraphNode *head) {
    void *pointers[4];
    telling nothing = {0};
    CUDA_KERNEL_NODE_PARAMS_v2 params = head_params(plan->updater, &nothing, pointers);
    CUresult result = plan->driver->cuGraphAddKernelNode(head, graph, NULL, 0, &params);
    plan->updater->head = *head;
    return result;
}

/* Of a kernel that runs in clusters the device counts the grid otherwise than the host does: such a one stays the host's. */
CUresult tr__updater_adopt(tr_plan *plan, tr__entry *entry) {
    const CUlaunchAttributeID id = CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE;
    CUlaunchAttributeValue value = {0};
    const uint32_t *spread = entry->kernel->spread;
    value.deviceUpdatableKernelNode.deviceUpdatable = 1;
    entry->device_node = 0;
    if (spread[0] * spread[1] * spread[2] > 1) return CUDA_SUCCESS;
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

static size_t params_size(const tr__entry *entry) {
    const tr__pack *pack = entry->kernel->pack;
    const tr__element *last = pack->element_count ? &pack->elements[pack->element_count - 1] : NULL;
    return last ? last->offset + last->size : 0;
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

static void write_record(told *told, tr__entry *entry) {
    bool runs = tr__entry_runs(entry);
    size_t size = runs ? params_size(entry) : 0;
    told->node = entry->device_node;
    memcpy(told->grid, entry->config.grid, sizeof told->grid);
    told->size = (uint32_t)size;
    told->state = (runs ? RUNS : 0) | (runs != entry->enabled ? SWITCHED : 0);
    told->done = 0;
    memcpy(told->params, entry->buffer, size);
    entry->enabled = runs;
}

static bool switch_head(tr_plan *plan, bool on) {
    if (plan->head_runs == on) return true;
    if (plan->driver->cuGraphNodeSetEnabled(plan->exec, plan->updater->head, on)) return false;
    plan->head_runs = on;
    return true;
}

/* How many kernels changed, and the room that each takes in the page. False: the graph is in the way. */
static bool measure(const tr_plan *plan, telling *telling) {
    size_t most = 0;
    for (uint32_t i = 0; i < plan->dirty_count; i++) {
        const tr__entry *entry = &plan->entries[plan->dirty[i]];
        if (!tr__updater_tells(plan, entry)) continue;
        if (entry->linked && tr__entry_runs(entry) != entry->enabled) return false;
        if (params_size(entry) > most) most = params_size(entry);
        telling->count++;
    }
    telling->stride = (uint32_t)(sizeof(told) + (most + 15) / 16 * 16);
    return true;
}

bool tr__updater_tell(tr_plan *plan) {
    telling telling = {0};
    void *pointers[4];
    if (!measure(plan, &telling)) return false;
    if (!telling.count) return switch_head(plan, false);
    slot *slot = take_slot(plan, sizeof *slot->page + (size_t)telling.count * telling.stride);
    if (!slot || plan->updater->refused) return false;
    slot->telling.count = 0; /* what it was told before is over */
    char *record = slot->page->records;
    for (uint32_t i = 0; i < plan->dirty_count; i++) {
        tr__entry *entry = &plan->entries[plan->dirty[i]];
        if (!tr__updater_tells(plan, entry)) continue;
        write_record((told *)record, entry);
        record += telling.stride;
    }
    telling.page = slot->page;
    telling.ticket = ++plan->updater->ticket;
    CUDA_KERNEL_NODE_PARAMS_v2 head = head_params(plan->updater, &telling, pointers);
    if (plan->driver->cuGraphExecKernelNodeSetParams(plan->exec, plan->updater->head, &head)) return false;
    slot->telling = telling; /* not free until the kernel says so */
    __atomic_fetch_add(&plan->runner->plan_updates, 1, __ATOMIC_RELAXED);
    return switch_head(plan, true);
}
