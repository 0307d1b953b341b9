/* Contexts: made, current, destroyed. */
#include "driver/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding ---- */
CUresult trcpu_context_find(CUcontext handle, trcpu_context **out) {
    const trcpu_thread *thread = &trcpu_this_thread;
    if (!handle && thread->depth > 0) handle = thread->stack[thread->depth - 1];
    if (!handle) return CUDA_ERROR_INVALID_CONTEXT;
    *out = trcpu_handle_find(TRCPU_CONTEXT, handle);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

/* ---- making and destroying ---- */
static const size_t LIMITS[8] = {
    [CU_LIMIT_STACK_SIZE] = 1024,
    [CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20,
    [CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20,
    [CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2,
    [CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048,
    [CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64,
};

static CUresult create(trcpu_device *device, unsigned int flags, bool primary, trcpu_context **out) {
    trcpu_context *context = calloc(1, sizeof *context);
    if (!context) return CUDA_ERROR_OUT_OF_MEMORY;
    context->device = device;
    context->primary = primary;
    context->flags = flags;
    context->id = trcpu_next_id();
    memcpy(context->limits, LIMITS, sizeof LIMITS);
    context->legacy = trcpu_stream_new(context, CU_STREAM_DEFAULT, 0);
    context->handle = primary ? device->primary_handle : trcpu_handle_new(TRCPU_CONTEXT, context);
    if (!context->legacy || !context->handle) {
        trcpu_streams_stop(context);
        free(context);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    context->next = trcpu.contexts;
    trcpu.contexts = context;
    if (primary) {
        trcpu_handle_set(context->handle, context);
        device->primary = context;
    }
    *out = context;
    return CUDA_SUCCESS;
}

/* No call can find the context or what is in it from the first line on; calls that wait for it hold marks.
   What is queued is still done, unless a fault broke the context. */
static void destroy(trcpu_context *context) {
    if (context->primary) {
        trcpu_handle_set(context->handle, NULL);
        context->device->primary = NULL;
    } else {
        trcpu_handle_delete(context->handle);
    }
    trcpu_events_destroy_all(context);
    trcpu_streams_stop(context);
    for (trcpu_context **at = &trcpu.contexts; *at; at = &(*at)->next)
        if (*at == context) {
            *at = context->next;
            break;
        }
    trcpu_modules_unload_all(context);
    trcpu_allocations_release(context);
    free(context);
}

/* ---- primary contexts ---- */
static CUresult enter_device(CUdevice number, trcpu_device **device) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *device = trcpu_device_find(number);
    return *device ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_DEVICE);
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    if (!out) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    trcpu_context *context = device->primary;
    if (!context) result = create(device, device->primary_flags, true, &context);
    if (result) return trcpu_leave(result);
    context->retained++;
    *out = context->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    if (!device->primary) return trcpu_leave(CUDA_ERROR_INVALID_CONTEXT);
    if (--device->primary->retained == 0) destroy(device->primary);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    if (device->primary) destroy(device->primary);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice number, unsigned int flags) {
    trcpu_device *device;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    if (flags & ~(unsigned int)CU_CTX_FLAGS_MASK) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    device->primary_flags = flags;
    if (device->primary) device->primary->flags = flags;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    return cuDevicePrimaryCtxRelease_v2(device);
}

CUresult cuDevicePrimaryCtxReset(CUdevice device) {
    return cuDevicePrimaryCtxReset_v2(device);
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned int flags) {
    return cuDevicePrimaryCtxSetFlags_v2(device, flags);
}

CUresult cuDevicePrimaryCtxGetState(CUdevice number, unsigned int *flags, int *active) {
    trcpu_device *device;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    if (!flags || !active) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *flags = device->primary_flags;
    *active = device->primary != NULL;
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- the caller's own ---- */
static CUresult push(CUcontext handle) {
    trcpu_thread *thread = &trcpu_this_thread;
    if (thread->depth == (int)(sizeof thread->stack / sizeof thread->stack[0]))
        return CUDA_ERROR_OUT_OF_MEMORY;
    thread->stack[thread->depth++] = handle;
    return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice number) {
    trcpu_device *device;
    trcpu_context *context;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    if (!out || flags & ~(unsigned int)CU_CTX_FLAGS_MASK) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    result = create(device, flags, false, &context);
    if (result) return trcpu_leave(result);
    result = push(context->handle);
    if (result)
        destroy(context);
    else
        *out = context->handle;
    return trcpu_leave(result);
}

CUresult cuCtxCreate_v3(CUcontext *out, CUexecAffinityParam *affinity, int affinity_count, unsigned int flags,
                        CUdevice device) {
    return affinity_count ? CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY : cuCtxCreate_v2(out, flags, device);
}

CUresult cuCtxCreate_v4(CUcontext *out, CUctxCreateParams *params, unsigned int flags, CUdevice device) {
    if (params && (params->numExecAffinityParams || params->cigParams)) return CUDA_ERROR_NOT_SUPPORTED;
    return cuCtxCreate_v2(out, flags, device);
}

CUresult cuCtxDestroy_v2(CUcontext handle) {
    CUresult result = trcpu_enter();
    if (result) return result;
    trcpu_context *context = handle ? trcpu_handle_find(TRCPU_CONTEXT, handle) : NULL;
    if (!context || context->primary) return trcpu_leave(CUDA_ERROR_INVALID_CONTEXT);
    trcpu_thread *thread = &trcpu_this_thread;
    if (thread->depth > 0 && thread->stack[thread->depth - 1] == handle) thread->depth--;
    destroy(context);
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- current ---- */
CUresult cuCtxPushCurrent_v2(CUcontext handle) {
    CUresult result = trcpu_enter();
    if (result) return result;
    if (!handle || !trcpu_handle_find(TRCPU_CONTEXT, handle)) return trcpu_leave(CUDA_ERROR_INVALID_CONTEXT);
    return trcpu_leave(push(handle));
}

CUresult cuCtxPopCurrent_v2(CUcontext *out) {
    CUresult result = trcpu_enter();
    if (result) return result;
    trcpu_thread *thread = &trcpu_this_thread;
    if (thread->depth == 0) return trcpu_leave(CUDA_ERROR_INVALID_CONTEXT);
    thread->depth--;
    if (out) *out = thread->stack[thread->depth];
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxSetCurrent(CUcontext handle) {
    CUresult result = trcpu_enter();
    if (result) return result;
    trcpu_thread *thread = &trcpu_this_thread;
    if (handle && !trcpu_handle_find(TRCPU_CONTEXT, handle)) return trcpu_leave(CUDA_ERROR_INVALID_CONTEXT);
    if (thread->depth > 0) thread->depth--;
    return trcpu_leave(handle ? push(handle) : CUDA_SUCCESS);
}

CUresult cuCtxGetCurrent(CUcontext *out) {
    CUresult result = trcpu_enter();
    if (result) return result;
    if (!out) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    const trcpu_thread *thread = &trcpu_this_thread;
    *out = thread->depth > 0 ? thread->stack[thread->depth - 1] : NULL;
    return trcpu_leave(CUDA_SUCCESS);
}

/* Enters, and finds the context of a call that may be made on a broken one. */
static CUresult enter_any(CUcontext handle, trcpu_context **context) {
    CUresult result = trcpu_enter();
    if (result) return result;
    result = trcpu_context_find(handle, context);
    return result ? trcpu_leave(result) : CUDA_SUCCESS;
}

CUresult cuCtxGetDevice_v2(CUdevice *device, CUcontext handle) {
    trcpu_context *context;
    CUresult result = enter_any(handle, &context);
    if (result) return result;
    if (!device) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *device = context->device->ordinal;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxGetDevice(CUdevice *device) {
    return cuCtxGetDevice_v2(device, NULL);
}

CUresult cuCtxGetId(CUcontext handle, unsigned long long *id) {
    trcpu_context *context;
    CUresult result = enter_any(handle, &context);
    if (result) return result;
    if (!id) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *id = context->id;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxGetApiVersion(CUcontext handle, unsigned int *version) {
    trcpu_context *context;
    CUresult result = enter_any(handle, &context);
    if (result) return result;
    if (!version) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *version = 3020;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxSynchronize_v2(CUcontext handle) {
    trcpu_context *context;
    CUresult result = enter_any(handle, &context);
    if (result) return result;
    result = context->error;
    if (!result) result = trcpu_capture_forbids_waiting(context);
    if (!result) result = trcpu_capture_forbids();
    return trcpu_leave(result ? result : trcpu_context_drain(context));
}

CUresult cuCtxSynchronize(void) {
    return cuCtxSynchronize_v2(NULL);
}

CUresult trcpu_last_fault(CUcontext handle, char *text, size_t size) {
    trcpu_context *context;
    CUresult result = enter_any(handle, &context);
    if (result == CUDA_ERROR_NOT_INITIALIZED && trcpu.refusal[0] && text && size) {
        snprintf(text, size, "%s", trcpu.refusal);
        return CUDA_SUCCESS;
    }
    if (result) return result;
    if (!context->error) return trcpu_leave(CUDA_ERROR_NOT_FOUND);
    if (!text || !size) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    size_t length = strnlen(context->fault.message, sizeof context->fault.message - 1);
    length = length < size - 1 ? length : size - 1;
    memcpy(text, context->fault.message, length);
    text[length] = 0;
    return trcpu_leave(CUDA_SUCCESS);
}
