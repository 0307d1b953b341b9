/* What not every launch needs: clusters, scratch, captures, what the caller overrides, and the words for a driver that
   refuses. Kept out of the way of the launches that need none of it. */
#include "launch/launch.h"
#include "launch/plan.h"

#include <stdlib.h>
#include <string.h>

typedef struct kept_module {
    tr__deferred deferred; /* first */
    tr__module *module;
} kept_module;

static void let_go(tr__deferred *deferred) {
    kept_module *kept = (kept_module *)deferred;
    tr__module_put(kept->module);
    free(kept);
}

/* The graph replays the kernel after tr_kernel_destroy too. Once per capture is enough. */
static tr_status keep_module(const tr_kernel *kernel, tr__instance *instance, CUstream stream,
                             tr_error **error) {
    CUstreamCaptureStatus status;
    cuuint64_t capture = 0;
    CUresult result = kernel->driver->cuStreamGetCaptureInfo(stream, &status, &capture, NULL, NULL, NULL);
    if (result) return tr__driver_fail(kernel->driver, result, "cuStreamGetCaptureInfo", error);
    if (__atomic_load_n(&instance->captured, __ATOMIC_RELAXED) == capture) return TR_OK;
    kept_module *kept = calloc(1, sizeof *kept);
    if (!kept) return tr__fail_out_of_memory(error);
    *kept = (kept_module){{NULL, let_go}, tr__module_retain(instance->module)};
    tr_status given = tr__driver_give_to_graph(kernel->driver, stream, &kept->deferred, error);
    if (!given) __atomic_store_n(&instance->captured, capture, __ATOMIC_RELAXED);
    return given;
}

enum {
    UNDERSTOOD = TR_LAUNCH_WORKSPACE | TR_LAUNCH_CHECK_POINTERS | TR_LAUNCH_PRIORITY | TR_LAUNCH_CARVEOUT |
                 TR_LAUNCH_OVERLAP | TR_LAUNCH_NO_OVERLAP,
    CONTRADICTING = TR_LAUNCH_OVERLAP | TR_LAUNCH_NO_OVERLAP
};

static tr_status check_flags(const tr_launch_config *config, tr_error **error) {
    if (config->flags & ~(uint32_t)UNDERSTOOD)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_launch_config.flags is 0x%x, which has bits that mean nothing", config->flags);
    if ((config->flags & CONTRADICTING) == CONTRADICTING)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_launch_config.flags has both TR_LAUNCH_OVERLAP and TR_LAUNCH_NO_OVERLAP");
    if (config->flags & TR_LAUNCH_CARVEOUT && config->carveout > 100)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_launch_config.carveout is %u percent; 100 is the most", config->carveout);
    return TR_OK;
}

bool tr__launch_overlaps(const tr_kernel *kernel, const tr_launch_config *config) {
    return config->flags & TR_LAUNCH_OVERLAP ||
           (kernel->record->programmatic && !(config->flags & TR_LAUNCH_NO_OVERLAP));
}

void tr__launch_override(CUlaunchConfig *launch, const tr_kernel *kernel, const tr_launch_config *config,
                         CUlaunchAttribute *room) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < launch->numAttrs; i++)
        if (launch->attrs[i].id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
            room[count++] = launch->attrs[i];
    if (tr__launch_overlaps(kernel, config))
        room[count++] = (CUlaunchAttribute){.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                            .value.programmaticStreamSerializationAllowed = 1};
    if (config->flags & TR_LAUNCH_PRIORITY)
        room[count++] =
            (CUlaunchAttribute){.id = CU_LAUNCH_ATTRIBUTE_PRIORITY, .value.priority = config->priority};
    if (config->flags & TR_LAUNCH_CARVEOUT)
        room[count++] = (CUlaunchAttribute){.id = CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                                            .value.sharedMemCarveout = config->carveout};
    launch->attrs = room;
    launch->numAttrs = count;
}

/* What the driver knows of an address: is it memory that a kernel of this device reaches? */
static const char *look_at_pointer(const tr__driver *driver, CUdeviceptr ptr) {
    unsigned int kind = 0;
    int ordinal = -1;
    CUdevice device = -1;
    CUdeviceptr reached = 0;
    if (driver->cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, ptr))
        return "is no address that the driver knows: the host's, freed, or never allocated";
    if (driver->cuPointerGetAttribute(&reached, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, ptr))
        return "cannot be reached by this device";
    if (kind == CU_MEMORYTYPE_DEVICE && !driver->cuCtxGetDevice(&device) &&
        !driver->cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, ptr) &&
        ordinal != device)
        return "is memory of another device than the current context's";
    return NULL;
}

static tr_status check_pointers(const tr_kernel *kernel, const char *buffer, tr_error **error) {
    for (size_t i = 0; i < kernel->pack->count; i++) {
        const tr__param *param = &kernel->record->params[i];
        uint64_t ptr;
        if (param->type != TR_TYPE_PTR || param->folded) continue;
        memcpy(&ptr, buffer + kernel->pack->places[i].offset, sizeof ptr);
        const char *wrong = ptr ? look_at_pointer(kernel->driver, ptr) : NULL;
        if (wrong)
            return tr__fail(error, TR_E_SIGNATURE, "argument %zu%s%.80s%s of '%.40s': pointer 0x%llx %s", i,
                            param->name ? " '" : "", param->name ? param->name : "", param->name ? "'" : "",
                            kernel->record->kernel, (unsigned long long)ptr, wrong);
    }
    return TR_OK;
}

tr_status tr__launch_check_flags(const tr_kernel *kernel, const tr_launch_config *config, const char *buffer,
                                 tr_error **error) {
    tr_status status = check_flags(config, error);
    if (!status && config->flags & TR_LAUNCH_CHECK_POINTERS) status = check_pointers(kernel, buffer, error);
    return status;
}

tr_status tr__launch_check_workspace(const tr_kernel *kernel, const tr_launch_config *config,
                                     const tr__workspace *wanted, tr_error **error) {
    uint64_t base = config->workspace;
    if (base && config->workspace_size >= wanted->bytes && base % wanted->alignment == 0) return TR_OK;
    return tr__fail(
        error, TR_E_RESOURCE,
        "the workspace for kernel '%s' must have %llu bytes, aligned to %u, but %llu at 0x%llx were "
        "given; ask tr_kernel_workspace",
        kernel->record->kernel, (unsigned long long)wanted->bytes, wanted->alignment,
        (unsigned long long)config->workspace_size, (unsigned long long)base);
}

void tr__launch_place_scratch(const tr_kernel *kernel, const tr__workspace *wanted, uint64_t base,
                              char *buffer) {
    for (uint32_t i = 0; i < kernel->pack->hidden_count; i++) {
        uint64_t part = base + wanted->offset[i];
        if (wanted->used[i]) memcpy(buffer + kernel->pack->hidden_offset[i], &part, sizeof part);
    }
}

static tr_status find_scratch(const tr_kernel *kernel, const tr__instance *instance,
                              const tr_launch_config *config, bool capturing, char *buffer, tr__lent *lent,
                              tr_error **error) {
    tr__workspace wanted;
    tr_status status = tr__kernel_scratch(kernel, config->grid, &wanted, error);
    if (status || !wanted.bytes) return status;
    if (config->flags & TR_LAUNCH_WORKSPACE) {
        lent->address = config->workspace;
        status = tr__launch_check_workspace(kernel, config, &wanted, error);
    } else {
        status = tr__scratches_lend(kernel->scratches, instance->context, config->stream, capturing,
                                    tr__launch_overlaps(kernel, config), wanted.bytes, wanted.alignment, lent,
                                    error);
    }
    if (!status) tr__launch_place_scratch(kernel, &wanted, lent->address, buffer);
    return status;
}

static tr_status take_care(const tr_kernel *kernel, tr__instance *instance, const tr_launch_config *config,
                           bool capturing, char *buffer, tr__lent *lent, tr_error **error) {
    tr_status status = tr__launch_check_flags(kernel, config, buffer, error);
    if (!status) status = tr__kernel_check_grid(kernel, instance, config->grid, error);
    if (!status) status = find_scratch(kernel, instance, config, capturing, buffer, lent, error);
    if (!status && capturing) status = keep_module(kernel, instance, config->stream, error);
    return status;
}

tr_status tr__launch_carefully(const tr_kernel *kernel, tr__instance *instance,
                               const tr_launch_config *config, CUstreamCaptureStatus capturing, char *buffer,
                               tr_error **error) {
    if (capturing == CU_STREAM_CAPTURE_STATUS_INVALIDATED)
        return tr__launch_fail(kernel, instance, config->stream, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                               error);
    tr_plan *plan = capturing ? tr__plan_recording(config->stream) : NULL;
    if (plan) return tr__plan_append_kernel(plan, kernel, instance, config, buffer, NULL, 0, NULL, error);
    CUlaunchConfig launch = instance->launch;
    CUlaunchAttribute attributes[TR__LAUNCH_ATTRIBUTES];
    tr__lent lent = {0};
    tr_status status = take_care(kernel, instance, config, capturing, buffer, &lent, error);
    if (status) return status;
    launch.gridDimX = config->grid[0] * kernel->spread[0];
    launch.gridDimY = config->grid[1] * kernel->spread[1];
    launch.gridDimZ = config->grid[2] * kernel->spread[2];
    launch.hStream = config->stream;
    if (config->flags & ~(uint32_t)(TR_LAUNCH_WORKSPACE | TR_LAUNCH_CHECK_POINTERS))
        tr__launch_override(&launch, kernel, config, attributes);
    CUresult result = kernel->pack->size
                          ? tr__launch_hand_over(kernel, instance, &launch, buffer)
                          : kernel->driver->cuLaunchKernelEx(&launch, instance->function, NULL, NULL);
    if (lent.temporary) tr__scratches_return(kernel->scratches, config->stream, &lent);
    return result ? tr__launch_fail(kernel, instance, config->stream, result, error) : TR_OK;
}

tr_status tr__launch_fail(const tr_kernel *kernel, const tr__instance *instance, CUstream stream,
                          CUresult result, tr_error **error) {
    CUcontext owner = NULL;
    if (result == CUDA_ERROR_INVALID_HANDLE && !kernel->driver->cuStreamGetCtx(stream, &owner) &&
        owner != instance->context.handle)
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "kernel '%s' cannot be launched: the stream belongs to another context than the current one; "
            "make the stream's context current",
            kernel->record->kernel);
    return tr__driver_fail_launch(kernel->driver, result, kernel->record->kernel, error);
}
