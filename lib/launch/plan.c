#include "launch/plan.h"

#include "launch/launch.h"
#include "launch/plan_update.h"
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

tr_status tr__plan_enter(const tr_plan *plan, tr__scope *scope, tr_error **error) {
    if (tr__driver_enter_context(plan->driver, plan->context, scope)) return TR_OK;
    return tr__fail(
        error, TR_E_INVALID_ARGUMENT,
        "the context that the plan was made in is not the current one, and only a device's primary "
        "context is found by itself: make it current, if it still is");
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

/* ---- entries ---- */

static void clear_entry(tr__entry *entry) {
    free(entry->after);
    free(entry->buffer);
    free(entry->pointers);
    free(entry->spare);
    free(entry->spare_pointers);
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
    plan->kernel_count += entry->kind == TR__ENTRY_KERNEL;
    if (entry->kind == TR__ENTRY_KERNEL && plan->kernel_count == TR__UPDATER_WORTHWHILE)
        tr__updater_create(plan);
    tr__plan_drop_graph(plan);
    return TR_OK;
}

static bool lay_out(const tr__pack *pack, const char *buffer, char **out, void ***pointers) {
    *out = aligned_alloc(64, (pack->size + 64) / 64 * 64);
    *pointers = calloc(pack->element_count + 1, sizeof **pointers);
    if (!*out || !*pointers) return false;
    memcpy(*out, buffer, pack->size); /* paddings and the hidden tail, too, which stores leave as they are */
    for (uint32_t i = 0; i < pack->element_count; i++) (*pointers)[i] = *out + pack->elements[i].offset;
    return true;
}

static tr_status lay_out_both(tr__entry *entry, const char *buffer, tr_error **error) {
    const tr__pack *pack = entry->kernel->pack;
    return lay_out(pack, buffer, &entry->buffer, &entry->pointers) &&
                   lay_out(pack, buffer, &entry->spare, &entry->spare_pointers)
               ? TR_OK
               : tr__fail_out_of_memory(error);
}

/* Pointers are known in their context only. */
static tr_status check_flags(const tr_plan *plan, const tr_kernel *kernel, const tr_launch_config *config,
                             const char *buffer, tr_error **error) {
    tr__scope scope;
    if (!config->flags) return TR_OK;
    tr_status status = tr__plan_enter(plan, &scope, error);
    if (status) return status;
    status = tr__launch_check_flags(kernel, config, buffer, error);
    tr__driver_leave(plan->driver, &scope);
    return status;
}

tr_status tr__plan_append_kernel(tr_plan *plan, const tr_kernel *kernel, tr__instance *instance,
                                 const tr_launch_config *config, const char *buffer, const uint32_t *after,
                                 size_t after_count, uint32_t *index, tr_error **error) {
    tr__entry entry = {.kind = TR__ENTRY_KERNEL, .kernel = tr__kernel_retain(kernel), .instance = instance};
    entry.config = *config;
    entry.overlaps = instance->architecture >= 90 && tr__launch_overlaps(kernel, config);
    tr_status status =
        instance->context.id == plan->context.id
            ? check_flags(plan, kernel, config, buffer, error)
            : tr__fail(error, TR_E_INVALID_ARGUMENT,
                       "kernel '%s' was launched in another context than the one the plan was made in",
                       kernel->record->kernel);
    if (!status) status = tr__kernel_check_grid(kernel, instance, config->grid, error);
    if (!status) status = set_after(plan, &entry, after, after_count, error);
    if (!status) status = lay_out_both(&entry, buffer, error);
    if (!status) status = tr__plan_choose_lane(plan, &entry, error);
    if (!status) status = tr__plan_give_scratch(plan, &entry, entry.config.grid, entry.buffer, error);
    return append(plan, &entry, status, index, error);
}

/* The kernel as it is in the plan's context. */
static tr_status find_instance(tr_plan *plan, const tr_kernel *kernel, tr__instance **out, tr_error **error) {
    tr__scope scope;
    *out = tr__kernel_find(kernel, plan->context.id);
    if (*out) return TR_OK;
    tr_status status = tr__plan_enter(plan, &scope, error);
    if (status) return status;
    status = tr__kernel_instance(kernel, plan->context, out, error);
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

/* What was laid out in the spare buffer takes the place of what was there. */
static void swap_buffers(tr__entry *entry) {
    char *buffer = entry->buffer;
    void **pointers = entry->pointers;
    entry->buffer = entry->spare;
    entry->pointers = entry->spare_pointers;
    entry->spare = buffer;
    entry->spare_pointers = pointers;
}

/* New arguments are checked and laid out beside the old ones, which stay until nothing can fail any more. */
static tr_status change_kernel(tr_plan *plan, uint32_t index, const uint32_t *grid, const tr_arg *args,
                               size_t count, tr_error **error) {
    tr__entry *entry = &plan->entries[index];
    const tr__pack *pack = entry->kernel->pack;
    tr_status status = TR_OK;
    if (args || count) {
        if (count != pack->count) return tr__pack_refuse_count(pack, count, error);
        if (!args)
            return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_plan_set: args is NULL, arg_count %zu", count);
        const tr_arg *wrong = tr__pack_store(pack, args, entry->spare);
        if (wrong) return tr__pack_refuse(pack, (size_t)(wrong - args), wrong, error);
    } else {
        memcpy(entry->spare, entry->buffer, pack->size);
    }
    if (!grid) grid = entry->config.grid;
    if (grid != entry->config.grid)
        status = tr__kernel_check_grid(entry->kernel, entry->instance, grid, error);
    if (!status && entry->kernel->careful)
        status = tr__plan_give_scratch(plan, entry, grid, entry->spare, error);
    if (status) return status;
    if (!memcmp(grid, entry->config.grid, sizeof entry->config.grid) &&
        !memcmp(entry->spare, entry->buffer, pack->size))
        return TR_OK;
    memmove(entry->config.grid, grid, sizeof entry->config.grid);
    swap_buffers(entry);
    mark(plan, index);
    return TR_OK;
}

tr_status tr_plan_set(tr_plan *plan, uint32_t index, const uint32_t *grid, const tr_arg *args,
                      size_t arg_count, tr_error **error) {
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_set", error);
    if (!status) status = check_index(plan, index, TR__ENTRY_KERNEL, error);
    return status ? status : change_kernel(plan, index, grid, args, arg_count, error);
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

static tr_status check_stream(const tr_plan *plan, CUstream stream, tr_error **error) {
    CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult result = CUDA_SUCCESS;
    if (stream) /* the default stream cannot be captured */
        result = plan->driver->cuStreamIsCapturing(stream, &capturing);
    if (result) return tr__driver_fail(plan->driver, result, "cuStreamIsCapturing", error);
    return capturing ? tr__fail(error, TR_E_INVALID_ARGUMENT,
                                "a plan is a graph itself and cannot be launched into a stream that is being "
                                "captured")
                     : TR_OK;
}

static tr_status launch_graph(tr_plan *plan, CUstream stream, tr_error **error) {
    if (plan->lane_count) return tr__plan_launch_in_turn(plan, stream, error);
    CUresult result = plan->driver->cuGraphLaunch(plan->exec, stream);
    return result ? tr__driver_fail(plan->driver, result, "cuGraphLaunch", error) : TR_OK;
}

/* Something changed since the last launch; and another stream may be captured meanwhile. */
static tr_status launch_anew(tr_plan *plan, CUstream stream, tr_error **error) {
    CUstreamCaptureMode before = tr__driver_relax(plan->driver);
    tr_status status = tr__plan_bring_up_to_date(plan, error);
    if (!status) {
        status = launch_graph(plan, stream, error);
        if (status && plan->head_runs)
            tr__plan_drop_graph(plan); /* what the device should have been told is lost */
    }
    tr__driver_relax_end(plan->driver, before);
    return status;
}

static tr_status submit(tr_plan *plan, CUstream stream, tr_error **error) {
    tr_status status = check_stream(plan, stream, error);
    if (status) return status;
    if (!plan->exec || plan->dirty_count || plan->head_runs) return launch_anew(plan, stream, error);
    return launch_graph(plan, stream, error);
}

tr_status tr_plan_launch(tr_plan *plan, void *stream, tr_error **error) {
    tr__error_clear(error);
    tr_status status = check_plan(plan, "tr_plan_launch", error);
    if (status || !plan->count) return status;
    if (tr__driver_current(plan->driver) == plan->context.id) return submit(plan, stream, error);
    tr__scope scope;
    status = tr__plan_enter(plan, &scope, error);
    if (status) return status;
    status = submit(plan, stream, error);
    tr__driver_leave(plan->driver, &scope);
    return status;
}

void tr_plan_destroy(tr_plan *plan) {
    if (!plan) return;
    tr__plan_stop_recording(plan);
    tr__plan_drop_graph(plan);
    for (uint32_t i = 0; i < plan->count; i++) clear_entry(&plan->entries[i]);
    tr__plan_free_scratch(plan);
    tr__updater_destroy(plan);
    free(plan->entries);
    free(plan->dirty);
    tr__runner_release(plan->runner);
    free(plan);
}
