/* A plan's scratch memory. A lane is a block that entries share which can't overlap. What a lane outgrew stays until
   the plan ends: a launch may still run with it, and each step at least doubles. */
#include "launch/plan.h"

#include "launch/launch.h"

#include <stdlib.h>
#include <string.h>

/* seen[i]: does an entry that comes after `entry` does come after i? Entries come after smaller ones only. */
static void look_back(const tr_plan *plan, const tr__entry *entry, bool *seen) {
    memset(seen, 0, plan->count * sizeof *seen);
    for (uint32_t i = 0; i < entry->after_count; i++) seen[entry->after[i]] = true;
    for (uint32_t i = plan->count; i-- > 0;) {
        const tr__entry *earlier = &plan->entries[i];
        for (uint32_t j = 0; seen[i] && j < earlier->after_count; j++) seen[earlier->after[j]] = true;
    }
}

/* The first lane whose users have all ended when the entry starts; lane_count: none. Each user of a lane comes after
   the one before it, so the last stands for all. */
static tr_status find_free(const tr_plan *plan, const tr__entry *entry, uint32_t *out, tr_error **error) {
    bool *seen = malloc(plan->count + 1);
    if (!seen) return tr__fail_out_of_memory(error);
    look_back(plan, entry, seen);
    for (*out = 0; *out < plan->lane_count && !seen[plan->lanes[*out].last]; ++*out)
        ;
    free(seen);
    return TR_OK;
}

tr_status tr__plan_choose_lane(tr_plan *plan, tr__entry *entry, tr_error **error) {
    static const uint32_t one[3] = {1, 1, 1};
    tr__workspace wanted;
    entry->lane = TR__NO_LANE;
    if (entry->config.flags & TR_LAUNCH_WORKSPACE) return TR_OK;
    tr_status status = tr__kernel_scratch(entry->kernel, one, &wanted, error);
    if (status || !wanted.bytes) return status;
    uint32_t lane = plan->lane_count;
    if (!entry->overlaps) status = find_free(plan, entry, &lane, error);
    if (status) return status;
    if (lane == plan->lane_count) {
        tr__plan_lane *grown = realloc(plan->lanes, (lane + 1) * sizeof *grown);
        if (!grown) return tr__fail_out_of_memory(error);
        plan->lanes = grown;
        grown[plan->lane_count++] = (tr__plan_lane){0};
    }
    entry->lane = lane;
    return TR_OK;
}

static tr_status grow(tr_plan *plan, tr__plan_lane *lane, uint64_t bytes, tr_error **error) {
    uint64_t size = lane->block && 2 * lane->block->size > bytes ? 2 * lane->block->size : bytes;
    tr__scope scope;
    tr__plan_block *made = malloc(sizeof *made);
    if (!made) return tr__fail_out_of_memory(error);
    *made = (tr__plan_block){lane->block, 0, size};
    tr_status status = tr__plan_enter(plan, &scope, error);
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

tr_status tr__plan_give_scratch(tr_plan *plan, tr__entry *entry, const uint32_t grid[3], char *buffer,
                                tr_error **error) {
    tr__workspace wanted;
    uint64_t base;
    if (!entry->kernel->careful) return TR_OK;
    tr_status status = tr__kernel_scratch(entry->kernel, grid, &wanted, error);
    if (status || !wanted.bytes) return status;
    if (entry->lane == TR__NO_LANE) {
        status = tr__launch_check_workspace(entry->kernel, &entry->config, &wanted, error);
        base = entry->config.workspace;
    } else {
        tr__plan_lane *lane = &plan->lanes[entry->lane];
        uint64_t bytes = wanted.bytes + wanted.alignment;
        if (!lane->block || lane->block->size < bytes) status = grow(plan, lane, bytes, error);
        if (status) return status;
        base = (lane->block->ptr + wanted.alignment - 1) & ~(uint64_t)(wanted.alignment - 1);
    }
    if (!status) tr__launch_place_scratch(entry->kernel, &wanted, base, buffer);
    return status;
}

/* The driver lets launches of one graph follow each other on whichever streams they are; a graph that was built anew
   knows nothing of the one before it, which may still run with the same lanes. */
tr_status tr__plan_launch_in_turn(tr_plan *plan, CUstream stream, tr_error **error) {
    tr__driver *driver = plan->driver;
    CUresult result = CUDA_SUCCESS;
    if (!plan->launched) result = driver->cuEventCreate(&plan->launched, CU_EVENT_DISABLE_TIMING);
    if (result) return tr__driver_fail(driver, result, "cuEventCreate", error);
    if (plan->rebuilt) result = driver->cuStreamWaitEvent(stream, plan->launched, 0);
    if (result) return tr__driver_fail(driver, result, "cuStreamWaitEvent", error);
    result = driver->cuGraphLaunch(plan->exec, stream);
    if (result) return tr__driver_fail(driver, result, "cuGraphLaunch", error);
    plan->rebuilt = false;
    result = driver->cuEventRecord(plan->launched, stream);
    return result ? tr__driver_fail(driver, result, "cuEventRecord", error) : TR_OK;
}

/* Waits for what runs with it. */
void tr__plan_free_scratch(tr_plan *plan) {
    if (plan->launched)
        tr__driver_give_back(plan->driver, plan->context, TR__EVENT, (uintptr_t)plan->launched);
    for (uint32_t i = 0; i < plan->lane_count; i++) {
        for (tr__plan_block *block = plan->lanes[i].block, *older; block; block = older) {
            older = block->older;
            tr__scratch_free(plan->driver, plan->context, block->ptr);
            free(block);
        }
    }
    free(plan->lanes);
}
