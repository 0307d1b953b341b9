/* The hot path. tr_launch checks and stores the arguments (store.c), finds the kernel in the current context,
   and calls the driver: no allocation, no lock, no hash, no system call. */
#include "launch/launch.h"

#include <stddef.h>
#include <string.h>

#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

__attribute__((noinline, cold)) static tr_status refuse_grid(const tr_kernel *kernel,
                                                             const tr_launch_config *config,
                                                             tr_error **error) {
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

/* ---- the way of every launch ---- */

/* The grid and the stream are the launch's, the rest is the instance's. Copied in pieces as large as the machine's
   registers, since copying it field by field takes twice the instructions. */
static inline void prepare(CUlaunchConfig *launch, const tr__instance *instance,
                           const tr_launch_config *config) {
    enum { FIXED = offsetof(CUlaunchConfig, blockDimX), TAIL = offsetof(CUlaunchConfig, attrs) };
    char *to = (char *)launch;
    const char *from = (const char *)&instance->launch;
    memcpy(to, (const char *)config + offsetof(tr_launch_config, grid), FIXED);
    memcpy(to + FIXED, from + FIXED, 16);
    launch->hStream = config->stream;
    memcpy(to + TAIL, from + TAIL, sizeof *launch - TAIL);
}

__attribute__((always_inline)) static inline tr_status start(const tr_kernel *kernel, tr__instance *instance,
                                                             const tr_launch_config *config, char *buffer,
                                                             tr_error **error) {
    CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
    if (config->stream) /* the default stream cannot be captured */
        kernel->driver->cuStreamIsCapturing(config->stream,
                                            &capturing); /* if it fails, so does the launch, and says why */
    if (UNLIKELY(kernel->careful | config->flags | (uint32_t)capturing))
        return tr__launch_carefully(kernel, instance, config, capturing, buffer, error);
    CUlaunchConfig launch;
    prepare(&launch, instance, config);
    CUresult result = tr__launch_hand_over(kernel, instance, &launch, buffer);
    return UNLIKELY(result) ? tr__launch_fail(kernel, instance, config->stream, result, error) : TR_OK;
}

/* No context is current, or the kernel is not loaded in the one that is. */
__attribute__((noinline, cold)) static tr_status start_elsewhere(const tr_kernel *kernel,
                                                                 const tr_launch_config *config, char *buffer,
                                                                 tr_error **error) {
    tr__scope scope;
    CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult result = CUDA_SUCCESS;
    tr_status status = tr__driver_enter(kernel->driver, &scope, error);
    if (status) return status;
    tr__instance *instance = tr__kernel_find(kernel, scope.context.id);
    if (!instance) result = kernel->driver->cuStreamIsCapturing(config->stream, &capturing);
    if (result) /* nothing is loaded for a launch that would fail */
        status = tr__driver_fail_launch(kernel->driver, result, kernel->record->kernel, error);
    else if (capturing)
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
    if (size < offsetof(tr_launch_config, priority) || size > 4096)
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
__attribute__((noinline, cold)) static tr_status launch_otherwise(const tr_kernel *kernel,
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

TR__HOT tr_status tr_launch(const tr_kernel *kernel, const tr_launch_config *config, const tr_arg *args,
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

TR__HOT tr_status tr_launch_packed(const tr_kernel *kernel, const tr_launch_config *config,
                                   const void *buffer, size_t size, tr_error **error) {
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
