#include "launch/plan.h"

#include "runner.h"

#include <stdlib.h>
#include <string.h>

tr_status tr_plan_create(tr_runner *runner, tr_plan **out, tr_error **error) {
    tr__error_clear(error);
    if (!out) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_plan_create: out is NULL");
    *out = NULL;
    if (!runner) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_plan_create: runner is NULL");
    tr__driver *driver;
    tr__scope scope;
    tr_status status = tr__runner_driver(runner, &driver, error);
    if (!status) status = tr__driver_enter(driver, &scope, error);
    if (status) return status;
    tr__driver_leave(driver, &scope);
    tr_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return tr__fail_out_of_memory(error);
    plan->runner = tr__runner_retain(runner);
    plan->driver = driver;
    plan->context = scope.context;
    *out = plan;
    return TR_OK;
}

static tr_status check_plan(const tr_plan *plan, const char *call, tr_error **error) {
    return plan ? TR_OK : tr__fail(error, TR_E_INVALID_ARGUMENT, "%s: plan is NULL", call);
}

static tr_status check_index(const tr_plan *plan, uint32_t index, tr__entry_kind kind, tr_error **error) {
    static const char *const kinds[] = {"a kernel", "a copy", "a fill"};
    if (index >= plan->count)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "the plan has no entry %u; it has %u", index,
                        plan->count);
    if (plan->entries[index].kind != kind)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "entry %u of the plan is %s, not %s", index,
                        kinds[plan->entries[index].kind], kinds[kind]);
    return TR_OK;
}

static void mark(tr_plan *plan, uint32_t index) {
    tr__entry *entry = &plan->entries[index];
    if (entry->dirty || !plan->exec) return; /* a graph that is to be built takes everything */
    entry->dirty = true;
    plan->dirty[plan->dirty_count++] = index;
}

/* ---- scratch ---- */

/* Is `earlier` reached when one walks back from `after`? Entries come after smaller ones only. */
static bool comes_after(const tr_plan *plan, const uint32_t *after, size_t count, uint32_t earlier,
                        bool *seen) {
    memset(seen, 0, plan->count * sizeof *seen);
    for (size_t i = 0; i < count; i++) seen[after[i]] = true;
    for (uint32_t i = plan->count; i-- > earlier + 1;) {
        const tr__entry *entry = &plan->entries[i];
        for (uint32_t j = 0; seen[i] && j < entry->after_count; j++) seen[entry->after[j]] = true;
    }
    return seen[earlier];
}

/* A lane whose users have all ended when the new entry starts, or a new one. Each user of a lane comes after the one
   before it, so the last stands for all. */
static tr_status choose_lane(tr_plan *plan, const uint32_t *after, size_t count, uint32_t *out,
                             tr_error **error) {
    bool *seen = malloc(plan->count + 1);
    if (!seen) return tr__fail_out_of_memory(error);
    uint32_t lane = 0;
    while (lane < plan->lane_count && !comes_after(plan, after, count, plan->lanes[lane].last, seen)) lane++;
    free(seen);
    *out = lane;
    if (lane < plan->lane_count) return TR_OK;
    tr__plan_lane *grown = realloc(plan->lanes, (plan->lane_count + 1) * sizeof *grown);
    if (!grown) return tr__fail_out_of_memory(error);
    plan->lanes = grown;
    grown[plan->lane_count++] = (tr__plan_lane){0};
    return TR_OK;
}

static tr_status grow_lane(tr_plan *plan, tr__plan_lane *lane, uint64_t bytes, tr_error **error) {
    uint64_t size = lane->block && 2 * lane->block->size > bytes ? 2 * lane->block->size : bytes;
    tr__scope scope;
    tr__plan_block *made = malloc(sizeof *made);
    if (!made) return tr__fail_out_of_memory(error);
    *made = (tr__plan_block){lane->block, 0, size};
    tr_status status = TR_OK;
    if (!tr__driver_enter_context(plan->driver, plan->context, &scope))
        status = tr__fail(error, TR_E_INVALID_ARGUMENT, "the context that the plan was made in is no more");
    if (!status) {
        status = tr__scratch_allocate(plan->driver, size, &made->ptr, error);
        tr__driver_leave(plan->driver, &scope);
    }
    if (status)
        free(made);
    else
        lane->block = made;
    return status;
}

/* Room for the grid's scratch, and its addresses into the hidden tail. Other entries of the lane keep the block they
   were given: both are right. */
static tr_status give_scratch(tr_plan *plan, tr__entry *entry, const uint32_t grid[3], char *buffer,
                              tr_error **error) {
    tr__workspace wanted;
    if (!entry->kernel->careful) return TR_OK;
    tr_status status = tr__kernel_scratch(entry->kernel, grid, &wanted, error);
    if (status || !wanted.bytes) return status;
    uint64_t base = entry->workspace;
    if (entry->lane == TR__NO_LANE) {
        if (entry->workspace_size < wanted.bytes || !base || base % wanted.alignment)
            return tr__fail(
                error, TR_E_RESOURCE,
                "the workspace for kernel '%s' must have %llu bytes, aligned to %u, but %llu at 0x%llx "
                "were given; ask tr_kernel_workspace",
                entry->kernel->record->kernel, (unsigned long long)wanted.bytes, wanted.alignment,
                (unsigned long long)entry->workspace_size, (unsigned long long)base);
    } else {
        tr__plan_lane *lane = &plan->lanes[entry->lane];
        uint64_t bytes = wanted.bytes + wanted.alignment;
        if (!lane->block || lane->block->size < bytes) status = grow_lane(plan, lane, bytes, error);
        if (status) return status;
        base = (lane->block->ptr + wanted.alignment - 1) & ~(uint64_t)(wanted.alignment - 1);
    }
    const tr__pack *pack = entry->kernel->pack;
    for (uint32_t i = 0; i < pack->hidden_count; i++) {
        uint64_t part = base + wanted.offset[i];
        if (wanted.used[i]) memcpy(buffer + pack->hidden_offset[i], &part, sizeof part);
    }
    return TR_OK;
}

/* ---- entries ---- */

static void clear_entry(tr__entry *entry) {
    free(entry->after);
    free(entry->buffer);
    free(entry->pointers);
    tr_kernel_destroy(entry->kernel);
    *entry = (tr__entry){0};
}

static tr_status reserve(tr_plan *plan, tr_error **error) {
    if (plan->count < plan->capacity) return TR_OK;
    uint32_t capacity = plan->capacity ? plan->capacity * 2 : 16;
    tr__entry *entries = realloc(plan->entries, capacity * sizeof *entries);
    if (entries) plan->entries = entries;
    uint32_t *dirty = entries ? realloc(plan->dirty, capacity * sizeof *dirty) : NULL;
    if (!dirty) return tr__fail_out_of_memory(error);
    plan->dirty = dirty;
    plan->capacity = capacity;
    return TR_OK;
}

/* The entries it comes after: those given, or the one added last. */
static tr_status set_after(const tr_plan *plan, tr__entry *entry, const uint32_t *after, size_t count,
                           tr_error **error) {
    uint32_t previous = plan->count - 1;
    if (!after && count)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "after is NULL, after_count is %zu", count);
    if (!after) count = plan->count ? 1 : 0, after = &previous;
    for (size_t i = 0; i < count; i++)
        if (after[i] >= plan->count)
            return tr__fail(
                error, TR_E_INVALID_ARGUMENT,
                "after[%zu] is entry %u, but the plan has %u entries so far; an entry can only come after "
                "earlier ones",
                i, after[i], plan->count);
    for (size_t i = 0; i < count; i++) /* the driver refuses an edge given twice */
        for (size_t j = 0; j < i; j++)
            if (after[i] == after[j])
                return tr__fail(error, TR_E_INVALID_ARGUMENT, "after[%zu] and after[%zu] are both entry %u",
                                j, i, after[i]);
    entry->after = malloc((count + 1) * sizeof *entry->after);
    if (!entry->after) return tr__fail_out_of_memory(error);
    memcpy(entry->after, after, count * sizeof *after);
    entry->after_count = (uint32_t)count;
    return TR_OK;
}

/* Takes `entry` over: into the plan, or freed. */
static tr_status append(tr_plan *plan, tr__entry *entry, tr_status status, uint32_t *index,
                        tr_error **error) {
    if (!status) status = reserve(plan, error);
    if (status) {
        clear_entry(entry);
        return status;
    }
    entry->wanted = true;
    if (entry->kind == TR__ENTRY_KERNEL && entry->lane != TR__NO_LANE)
        plan->lanes[entry->lane].last = plan->count;
    if (index) *index = plan->count;
    plan->entries[plan->count++] = *entry;
    tr__plan_drop_graph(plan);
    return TR_OK;
}

static tr_status lay_out(tr__entry *entry, const char *buffer, tr_error **error) {
    const tr__pack *pack = entry->kernel->pack;
    entry->buffer = aligned_alloc(64, (pack->size + 64) / 64 * 64);
    entry->pointers = calloc(pack->element_count + 1, sizeof *entry->pointers);
    if (!entry->buffer || !entry->pointers) return tr__fail_out_of_memory(error);
    memcpy(entry->buffer, buffer, pack->size);
    for (uint32_t i = 0; i < pack->element_count; i++)
        entry->pointers[i] = entry->buffer + pack->elements[i].offset;
    return TR_OK;
}

/* Where an entry's scratch comes from: the caller's workspace, or a lane of the plan. A programmatic launch may start
   before the one ahead has ended, but in a plan it does not: its edges are full ones. */
static tr_status find_lane(tr_plan *plan, tr__entry *entry, const tr_launch_config *config,
                           tr_error **error) {
    static const uint32_t one[3] = {1, 1, 1};
    tr__workspace wanted;
    entry->lane = TR__NO_LANE;
    if (config->flags & ~(uint32_t)TR_LAUNCH_WORKSPACE)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_launch_config.flags is 0x%x, which has bits that mean nothing", config->flags);
    if (config->flags & TR_LAUNCH_WORKSPACE) {
        entry->workspace = config->workspace;
        entry->workspace_size = config->workspace_size;
        return TR_OK;
    }
    tr_status status = tr__kernel_scratch(entry->kernel, one, &wanted, error);
    if (status || !wanted.bytes) return status;
    return choose_lane(plan, entry->after, entry->after_count, &entry->lane, error);
}

tr_status tr__plan_append_kernel(tr_plan *plan, const tr_kernel *kernel, tr__instance *instance,
                                 const tr_launch_config *config, const char *buffer, const uint32_t *after,
                                 size_t after_count, uint32_t *index, tr_error **error) {
    tr__entry entry = {.kind = TR__ENTRY_KERNEL, .kernel = tr__kernel_retain(kernel), .instance = instance};
    memcpy(entry.grid, config->grid, sizeof entry.grid);
    tr_status status =
        instance->context.id == plan->context.id
            ? tr__kernel_check_grid(kernel, instance, config->grid, error)
            : tr__fail(error, TR_E_INVALID_ARGUMENT,
                       "kernel '%s' was launched in another context than the one the plan was made in",
                       kernel->record->kernel);
    if (!status) status = set_after(plan, &entry, after, after_count, error);
    if (!status) status = lay_out(&entry, buffer, error);
    if (!status) status = find_lane(plan, &entry, config, error);
    if (!status) status = give_scratch(plan, &entry, entry.grid, entry.buffer, error);
    return append(plan, &entry, status, index, error);
}

/* The kernel as it is in the plan's context. */
static tr_status find_instance(tr_plan *plan, const tr_kernel *kernel, tr__instance **out, tr_error **error) {
    tr__scope scope;
    *out = tr__kernel_find(kernel, plan->context.id);
    if (*out) return TR_OK;
    if (!tr__driver_enter_context(plan->driver, plan->context, &scope))
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "the context that the plan was made in is no more");
    tr_status status = tr__kernel_instance(kernel, plan->context, out, error);
    tr__driver_leave(plan->driver, &scope);
    return status;
}

tr_status tr_plan_add(tr_plan *plan, const tr_kernel *kernel, const tr_launch_config *config,
                      const tr_arg *args, size_t arg_count, const uint32_t *after, size_t after_count,
                      uint32_t *index, tr_error **error) {
    _Alignas(64) char buffer[TR__PACKED_MAX];
    tr_launch_config known;
    tr__instance *instance;
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_add", error);
    if (status) return status;
    if (!kernel) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_plan_add: kernel is NULL");
    if (kernel->driver != plan->driver)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "kernel '%s' belongs to another runner than the plan",
                        kernel->record->kernel);
    status = tr__launch_read_config(config, &known, error);
    if (!status) status = tr_kernel_pack(kernel, args, arg_count, buffer, sizeof buffer, error);
    if (!status) status = find_instance(plan, kernel, &instance, error);
    if (status) return status;
    return tr__plan_append_kernel(plan, kernel, instance, &known, buffer, after, after_count, index, error);
}

tr_status tr_plan_add_copy(tr_plan *plan, uint64_t dst, uint64_t src, size_t bytes, const uint32_t *after,
                           size_t after_count, uint32_t *index, tr_error **error) {
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_add_copy", error);
    if (status) return status;
    tr__entry entry = {.kind = TR__ENTRY_COPY, .to = dst, .from = src, .bytes = bytes};
    return append(plan, &entry, set_after(plan, &entry, after, after_count, error), index, error);
}

tr_status tr_plan_add_fill(tr_plan *plan, uint64_t dst, uint8_t value, size_t bytes, const uint32_t *after,
                           size_t after_count, uint32_t *index, tr_error **error) {
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_add_fill", error);
    if (status) return status;
    tr__entry entry = {.kind = TR__ENTRY_FILL, .to = dst, .value = value, .bytes = bytes};
    return append(plan, &entry, set_after(plan, &entry, after, after_count, error), index, error);
}

/* ---- changes ---- */

/* New arguments, checked and laid out beside the old ones; the old ones stay until nothing can fail any more. */
static tr_status change_kernel(tr_plan *plan, uint32_t index, const uint32_t *grid, const tr_arg *args,
                               size_t count, char *buffer, tr_error **error) {
    tr__entry *entry = &plan->entries[index];
    const tr__pack *pack = entry->kernel->pack;
    if (!grid) grid = entry->grid;
    tr_status status = TR_OK;
    if (args || count) {
        if (count != pack->count) return tr__pack_refuse_count(pack, count, error);
        if (!args)
            return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_plan_set: args is NULL, arg_count %zu", count);
        memcpy(buffer, entry->buffer, pack->size); /* paddings and the hidden tail stay as they are */
        const tr_arg *wrong = tr__pack_store(pack, args, buffer);
        if (wrong) return tr__pack_refuse(pack, (size_t)(wrong - args), wrong, error);
    } else {
        memcpy(buffer, entry->buffer, pack->size);
    }
    if (grid != entry->grid) status = tr__kernel_check_grid(entry->kernel, entry->instance, grid, error);
    if (!status && entry->kernel->careful) status = give_scratch(plan, entry, grid, buffer, error);
    if (status) return status;
    if (!memcmp(grid, entry->grid, sizeof entry->grid) && !memcmp(buffer, entry->buffer, pack->size))
        return TR_OK;
    memmove(entry->grid, grid, sizeof entry->grid);
    memcpy(entry->buffer, buffer, pack->size);
    mark(plan, index);
    return TR_OK;
}

/* Few kernels take so many arguments; the others don't pay for the stack. */
__attribute__((noinline)) static tr_status change_large_kernel(tr_plan *plan, uint32_t index,
                                                               const uint32_t *grid, const tr_arg *args,
                                                               size_t count, tr_error **error) {
    _Alignas(64) char buffer[TR__PACKED_MAX];
    return change_kernel(plan, index, grid, args, count, buffer, error);
}

tr_status tr_plan_set(tr_plan *plan, uint32_t index, const uint32_t *grid, const tr_arg *args,
                      size_t arg_count, tr_error **error) {
    enum { USUAL = 2048 };
    _Alignas(64) char buffer[USUAL];
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_set", error);
    if (!status) status = check_index(plan, index, TR__ENTRY_KERNEL, error);
    if (status) return status;
    if (plan->entries[index].kernel->pack->size > USUAL)
        return change_large_kernel(plan, index, grid, args, arg_count, error);
    return change_kernel(plan, index, grid, args, arg_count, buffer, error);
}

tr_status tr_plan_set_copy(tr_plan *plan, uint32_t index, uint64_t dst, uint64_t src, size_t bytes,
                           tr_error **error) {
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_set_copy", error);
    if (!status) status = check_index(plan, index, TR__ENTRY_COPY, error);
    if (status) return status;
    tr__entry *entry = &plan->entries[index];
    entry->to = dst;
    entry->from = src;
    entry->bytes = bytes;
    mark(plan, index);
    return TR_OK;
}

tr_status tr_plan_set_fill(tr_plan *plan, uint32_t index, uint64_t dst, uint8_t value, size_t bytes,
                           tr_error **error) {
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_set_fill", error);
    if (!status) status = check_index(plan, index, TR__ENTRY_FILL, error);
    if (status) return status;
    tr__entry *entry = &plan->entries[index];
    entry->to = dst;
    entry->value = value;
    entry->bytes = bytes;
    mark(plan, index);
    return TR_OK;
}

tr_status tr_plan_enable(tr_plan *plan, uint32_t index, int32_t enabled, tr_error **error) {
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_enable", error);
    if (!status)
        status = check_index(plan, index, index < plan->count ? plan->entries[index].kind : 0, error);
    if (status || plan->entries[index].wanted == (enabled != 0)) return status;
    plan->entries[index].wanted = enabled != 0;
    mark(plan, index);
    return TR_OK;
}

/* ---- launch and end ---- */

static tr_status submit(tr_plan *plan, CUstream stream, tr_error **error) {
    tr__driver *driver = plan->driver;
    CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
    driver->cuStreamIsCapturing(stream, &capturing); /* if it fails, so does the launch, and says why */
    if (capturing)
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "a plan is a graph itself and cannot be launched into a stream that is being captured");
    if (!plan->exec || plan->dirty_count) {
        tr_status status = tr__plan_bring_up_to_date(plan, error);
        if (status) return status;
    }
    CUresult result = driver->cuGraphLaunch(plan->exec, stream);
    return result ? tr__driver_fail(driver, result, "cuGraphLaunch", error) : TR_OK;
}

tr_status tr_plan_launch(tr_plan *plan, void *stream, tr_error **error) {
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_launch", error);
    if (status || !plan->count) return status;
    if (tr__driver_current(plan->driver) == plan->context.id) return submit(plan, stream, error);
    tr__scope scope;
    if (!tr__driver_enter_context(plan->driver, plan->context, &scope))
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "the context that the plan was made in is no more");
    status = submit(plan, stream, error);
    tr__driver_leave(plan->driver, &scope);
    return status;
}

void tr_plan_destroy(tr_plan *plan) {
    if (!plan) return;
    tr__plan_stop_recording(plan);
    tr__plan_drop_graph(plan);
    for (uint32_t i = 0; i < plan->count; i++) clear_entry(&plan->entries[i]);
    for (uint32_t i = 0; i < plan->lane_count; i++) {
        for (tr__plan_block *block = plan->lanes[i].block, *older; block; block = older) {
            older = block->older;
            tr__scratch_free(plan->driver, plan->context, block->ptr); /* waits for what runs with it */
            free(block);
        }
    }
    free(plan->lanes);
    free(plan->entries);
    free(plan->dirty);
    tr__runner_release(plan->runner);
    free(plan);
}
