/* The hot path. tr_launch checks and stores the arguments (store.c), finds the kernel in the current context,
   and calls the driver: no allocation, no lock, no hash, no system call. What is rare is kept out of line,
   below it. */
#include "launch/plan.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

__attribute__((noinline)) static tr_status refuse_grid(const tr_kernel *kernel,
                                                       const tr_launch_config *config, tr_error **error) {
    const uint32_t *grid = config->grid;
    if (!grid[0] || !grid[1] || !grid[2]) return TR_OK; /* empty: no launch, and no error */
    return tr__fail(error, TR_E_RESOURCE,
                    "a grid of %u x %u x %u is over the limit of %u x %u x %u for kernel '%s'", grid[0],
                    grid[1], grid[2], kernel->grid_limit[0], kernel->grid_limit[1], kernel->grid_limit[2],
                    kernel->record->kernel);
}

static inline bool is_odd(const tr_kernel *kernel, const uint32_t grid[3]) {
    return grid[0] - 1 >= kernel->grid_limit[0] || grid[1] - 1 >= kernel->grid_limit[1] ||
           grid[2] - 1 >= kernel->grid_limit[2];
}

tr_status tr__kernel_check_grid(const tr_kernel *kernel, const tr__instance *instance, const uint32_t grid[3],
                                tr_error **error) {
    if (is_odd(kernel, grid)) {
        tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
        memcpy(config.grid, grid, sizeof config.grid);
        return refuse_grid(kernel, &config, error);
    }
    uint64_t ctas = (uint64_t)grid[0] * kernel->spread[0] * grid[1] * kernel->spread[1];
    bool over = __builtin_mul_overflow(ctas, (uint64_t)grid[2] * kernel->spread[2], &ctas);
    if (kernel->record->cooperative && (over || ctas > instance->cooperative_limit))
        return tr__fail(
            error, TR_E_RESOURCE,
            "kernel '%s' is launched cooperatively, so all CTAs must run at once: %llu were asked for, %llu "
            "fit this device",
            kernel->record->kernel, (unsigned long long)ctas,
            (unsigned long long)instance->cooperative_limit);
    return TR_OK;
}

/* ---- what not every launch needs ---- */

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

static tr_status find_scratch(const tr_kernel *kernel, const tr__instance *instance,
                              const tr_launch_config *config, bool capturing, char *buffer, tr__lent *lent,
                              tr_error **error) {
    tr__workspace wanted;
    const char *name = kernel->record->kernel;
    uint64_t base = config->workspace;
    tr_status status = tr__kernel_scratch(kernel, config->grid, &wanted, error);
    if (status || !wanted.bytes) return status;
    if (config->flags & TR_LAUNCH_WORKSPACE) {
        if (!base || config->workspace_size < wanted.bytes || base % wanted.alignment)
            return tr__fail(
                error, TR_E_RESOURCE,
                "the workspace for kernel '%s' must have %llu bytes, aligned to %u, but %llu at 0x%llx were "
                "given; ask tr_kernel_workspace",
                name, (unsigned long long)wanted.bytes, wanted.alignment,
                (unsigned long long)config->workspace_size, (unsigned long long)base);
    } else {
        status =
            tr__scratches_lend(kernel->scratches, instance->context, config->stream, capturing,
                               kernel->record->programmatic, wanted.bytes, wanted.alignment, lent, error);
        if (status) return status;
        base = lent->address;
    }
    for (uint32_t i = 0; i < kernel->pack->hidden_count; i++) {
        uint64_t part = base + wanted.offset[i];
        if (wanted.used[i]) memcpy(buffer + kernel->pack->hidden_offset[i], &part, sizeof part);
    }
    return TR_OK;
}

__attribute__((noinline)) static tr_status take_care(const tr_kernel *kernel, tr__instance *instance,
                                                     const tr_launch_config *config, bool capturing,
                                                     char *buffer, tr__lent *lent, tr_error **error) {
    const uint32_t *grid = config->grid;
    if (config->flags & ~(uint32_t)TR_LAUNCH_WORKSPACE)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_launch_config.flags is 0x%x, which has bits that mean nothing", config->flags);
    tr_status status = tr__kernel_check_grid(kernel, instance, grid, error);
    if (!status) status = find_scratch(kernel, instance, config, capturing, buffer, lent, error);
    if (!status && capturing) status = keep_module(kernel, instance, config->stream, error);
    return status;
}

__attribute__((noinline)) static tr_status fail_launch(const tr_kernel *kernel, const tr__instance *instance,
                                                       CUstream stream, CUresult result, tr_error **error) {
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

static inline CUresult hand_over(const tr_kernel *kernel, const tr__instance *instance,
                                 const CUlaunchConfig *launch, char *buffer) {
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE,
                     (void *)&kernel->pack->size, CU_LAUNCH_PARAM_END};
    return kernel->driver->cuLaunchKernelEx(launch, instance->function, NULL, extra);
}

__attribute__((noinline)) static tr_status start_carefully(const tr_kernel *kernel, tr__instance *instance,
                                                           const tr_launch_config *config, bool capturing,
                                                           char *buffer, tr_error **error) {
    tr_plan *plan = capturing ? tr__plan_recording(config->stream) : NULL;
    if (plan) return tr__plan_append_kernel(plan, kernel, instance, config, buffer, NULL, 0, NULL, error);
    CUlaunchConfig launch = instance->launch;
    tr__lent lent = {0};
    tr_status status = take_care(kernel, instance, config, capturing, buffer, &lent, error);
    if (status) return status;
    launch.gridDimX = config->grid[0] * kernel->spread[0];
    launch.gridDimY = config->grid[1] * kernel->spread[1];
    launch.gridDimZ = config->grid[2] * kernel->spread[2];
    launch.hStream = config->stream;
    CUresult result = kernel->pack->size
                          ? hand_over(kernel, instance, &launch, buffer)
                          : kernel->driver->cuLaunchKernelEx(&launch, instance->function, NULL, NULL);
    if (lent.temporary) tr__scratches_return(kernel->scratches, config->stream, &lent);
    return result ? fail_launch(kernel, instance, config->stream, result, error) : TR_OK;
}

/* ---- the way of every launch ---- */

/* The grid and the stream are the launch's, the rest is the instance's. Copied in pieces as large as the machine's
   registers, since copying it field by field takes twice the instructions. */
static inline void prepare(CUlaunchConfig *launch, const tr__instance *instance,
                           const tr_launch_config *config) {
    enum { FIXED = offsetof(CUlaunchConfig, blockDimX), TAIL = offsetof(CUlaunchConfig, attrs) };
    char *to = (char *)launch;
    const char *from = (const char *)&instance->launch;
    memcpy(to, config->grid, FIXED);
    memcpy(to + FIXED, from + FIXED, 16);
    launch->hStream = config->stream;
    memcpy(to + TAIL, from + TAIL, sizeof *launch - TAIL);
}

__attribute__((always_inline)) static inline tr_status start(const tr_kernel *kernel, tr__instance *instance,
                                                             const tr_launch_config *config, char *buffer,
                                                             tr_error **error) {
    CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
    kernel->driver->cuStreamIsCapturing(config->stream,
                                        &capturing); /* if it fails, so does the launch, and says why */
    if (UNLIKELY(kernel->careful | config->flags | (uint32_t)capturing))
        return start_carefully(kernel, instance, config, capturing, buffer, error);
    CUlaunchConfig launch;
    prepare(&launch, instance, config);
    CUresult result = hand_over(kernel, instance, &launch, buffer);
    return UNLIKELY(result) ? fail_launch(kernel, instance, config->stream, result, error) : TR_OK;
}

/* No context is current, or the kernel is not loaded in the one that is. */
__attribute__((noinline)) static tr_status start_elsewhere(const tr_kernel *kernel,
                                                           const tr_launch_config *config, char *buffer,
                                                           tr_error **error) {
    tr__scope scope;
    CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
    tr_status status = tr__driver_enter(kernel->driver, &scope, error);
    if (status) return status;
    tr__instance *instance = tr__kernel_find(kernel, scope.context.id);
    if (!instance) kernel->driver->cuStreamIsCapturing(config->stream, &capturing);
    if (capturing)
        status = tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "kernel '%s' is not loaded in the current context, and the stream is being captured; call "
            "tr_kernel_load before the capture begins",
            kernel->record->kernel);
    else if (!instance)
        status = tr__kernel_instance(kernel, scope.context, &instance, error);
    if (!status) status = start(kernel, instance, config, buffer, error);
    tr__driver_leave(kernel->driver, &scope);
    return status;
}

__attribute__((always_inline)) static inline tr_status submit(const tr_kernel *kernel,
                                                              const tr_launch_config *config, char *buffer,
                                                              tr_error **error) {
    if (UNLIKELY(is_odd(kernel, config->grid))) return refuse_grid(kernel, config, error);
    uint64_t context = tr__driver_current(kernel->driver);
    tr__instance *instance = tr__kernel_find(kernel, context);
    if (UNLIKELY(!instance)) return start_elsewhere(kernel, config, buffer, error);
    return start(kernel, instance, config, buffer, error);
}

/* A config of another size, or none: what is known of it, with defaults for the rest. */
tr_status tr__launch_read_config(const tr_launch_config *config, tr_launch_config *out, tr_error **error) {
    static const tr_launch_config defaults = TR_LAUNCH_CONFIG_INIT;
    static const char zeros[sizeof(tr_launch_config)];
    *out = defaults;
    if (!config || (!config->struct_size && !memcmp(config, zeros, sizeof zeros))) return TR_OK;
    size_t size = config->struct_size, known = size < sizeof *out ? size : sizeof *out;
    if (size < offsetof(tr_launch_config, flags) || size > 4096)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_launch_config.struct_size is %zu; begin with TR_LAUNCH_CONFIG_INIT", size);
    for (size_t i = known; i < size; i++)
        if (((const char *)config)[i])
            return tr__fail(
                error, TR_E_UNSUPPORTED,
                "tr_launch_config has something at byte %zu that this version of the library does not know",
                i);
    memcpy(out, config, known);
    out->struct_size = sizeof *out;
    return TR_OK;
}

/* The rare ways to call tr_launch and tr_launch_packed: with mistakes, without a config, with a great many
   arguments. packed: the arguments are there already. */
__attribute__((noinline)) static tr_status launch_otherwise(const tr_kernel *kernel,
                                                            const tr_launch_config *config,
                                                            const tr_arg *args, size_t count,
                                                            const void *packed, tr_error **error) {
    char buffer[TR__PACKED_MAX + 4];
    tr_launch_config known;
    if (!kernel) return tr__fail(error, TR_E_INVALID_ARGUMENT, "no kernel was given: it is NULL");
    if (!packed && count && !args)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "arguments of '%s': args is NULL, arg_count %zu",
                        kernel->record->kernel, count);
    if (!packed && count != kernel->pack->count) return tr__pack_refuse_count(kernel->pack, count, error);
    tr_status status = tr__launch_read_config(config, &known, error);
    if (status) return status;
    const tr_arg *wrong = packed ? NULL : tr__pack_store(kernel->pack, args, buffer);
    if (wrong) return tr__pack_refuse(kernel->pack, (size_t)(wrong - args), wrong, error);
    if (packed) {
        memcpy(buffer, packed, kernel->pack->size);
        status = tr__pack_verify(kernel->pack, buffer, error);
    }
    return status ? status : submit(kernel, &known, buffer, error);
}

tr_status tr_launch(const tr_kernel *kernel, const tr_launch_config *config, const tr_arg *args,
                    size_t arg_count, tr_error **error) {
    char buffer[TR__PACKED_USUAL];
    tr__error_clear(error);
    if (UNLIKELY(!kernel || !config || config->struct_size != sizeof *config || arg_count != kernel->count ||
                 (!args && arg_count)))
        return launch_otherwise(kernel, config, args, arg_count, NULL, error);
    const tr_arg *wrong = tr__pack_store(kernel->pack, args, buffer);
    if (UNLIKELY(wrong)) return tr__pack_refuse(kernel->pack, (size_t)(wrong - args), wrong, error);
    return submit(kernel, config, buffer, error);
}

tr_status tr_kernel_pack(const tr_kernel *kernel, const tr_arg *args, size_t arg_count, void *buffer,
                         size_t size, tr_error **error) {
    tr__error_clear(error);
    if (!kernel) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_kernel_pack: kernel is NULL");
    const tr__pack *pack = kernel->pack;
    if ((arg_count && !args) || (pack->size && !buffer))
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_kernel_pack: %s is NULL",
                        arg_count && !args ? "args" : "buffer");
    if (arg_count != pack->count) return tr__pack_refuse_count(pack, arg_count, error);
    if (size < pack->size)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "the arguments of '%s' take %zu bytes, but the buffer has %zu",
                        kernel->record->kernel, pack->size, size);
    if (size) memset(buffer, 0, size);
    const tr_arg *wrong = tr__pack_store(pack, args, buffer);
    return wrong ? tr__pack_refuse(pack, (size_t)(wrong - args), wrong, error) : TR_OK;
}

tr_status tr_launch_packed(const tr_kernel *kernel, const tr_launch_config *config, const void *buffer,
                           size_t size, tr_error **error) {
    char copy[TR__PACKED_USUAL + 4];
    tr__error_clear(error);
    if (UNLIKELY(!kernel || (!buffer && size)))
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_launch_packed: %s is NULL",
                        kernel ? "buffer" : "kernel");
    if (UNLIKELY(size != kernel->pack->size))
        return tr__fail(error, TR_E_SIGNATURE,
                        "the packed arguments of '%s' take %zu bytes, but %zu were given",
                        kernel->record->kernel, kernel->pack->size, size);
    if (UNLIKELY(!config || config->struct_size != sizeof *config || kernel->count == SIZE_MAX))
        return launch_otherwise(kernel, config, NULL, 0, buffer ? buffer : copy, error);
    if (size) memcpy(copy, buffer, size);
    tr_status status = tr__pack_verify(kernel->pack, copy, error);
    return status ? status : submit(kernel, config, copy, error);
}
