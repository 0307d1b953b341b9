/* A work: one thing to do, ready to be done. It is never changed once made, so a stream and several graphs
   may share it; running needs no lock. */
#include "driver/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

trcpu_work *trcpu_work_new(trcpu_work_kind kind, const trcpu_context *context) {
    trcpu_work *work = calloc(1, sizeof *work);
    if (work)
        *work = (trcpu_work){.references = 1,
                             .kind = kind,
                             .device = context->device,
                             .context = context->handle,
                             .context_id = context->id};
    return work;
}

bool trcpu_work_alive(const trcpu_work *work) {
    const trcpu_context *context = trcpu_handle_find(TRCPU_CONTEXT, work->context);
    return context && context->id == work->context_id;
}

trcpu_work *trcpu_work_retain(trcpu_work *work) {
    if (work) work->references++;
    return work;
}

void trcpu_work_release(trcpu_work *work) {
    if (!work || --work->references) return;
    switch (work->kind) {
    case TRCPU_WORK_KERNEL:
        free(work->as.kernel.parameters);
        trcpu_loaded_release(work->as.kernel.loaded);
        break;
    case TRCPU_WORK_COPY: free(work->as.copy.staged); break;
    case TRCPU_WORK_GRAPH:
        for (size_t i = 0; i < work->as.graph.count; i++) trcpu_work_release(work->as.graph.works[i]);
        free(work->as.graph.works);
        trcpu_keep_release(work->as.graph.keep);
        break;
    default: break;
    }
    free(work);
}

/* ---- running ---- */
static CUresult run_kernel(const trcpu_work *work, trcpu_fault *fault) {
    const trcpu_kernel_work *kernel = &work->as.kernel;
    trcpu_launch launch = {.function = kernel->callable->function,
                           .dynamic_shared = kernel->shared,
                           .cooperative = kernel->cooperative,
                           .parameters = kernel->parameters};
    memcpy(launch.grid, kernel->grid, sizeof launch.grid);
    memcpy(launch.block, kernel->block, sizeof launch.block);
    memcpy(launch.cluster, kernel->cluster, sizeof launch.cluster);
    if (trcpu.counting) return trcpu_execute_counted(work->device->memory, &launch, trcpu.checks, fault);
    return (CUresult)trcpu_execute(work->device->memory, &launch, trcpu.checks, NULL, fault);
}

/* A stream-ordered free may have taken what was alive when the copy was given. */
static CUresult gone(const char *what, uint64_t address, trcpu_fault *fault) {
    if (fault) {
        *fault = (trcpu_fault){.result = CUDA_ERROR_ILLEGAL_ADDRESS, .address = address};
        snprintf(fault->kind, sizeof fault->kind, "use-after-free");
        snprintf(fault->message, sizeof fault->message, "%s at 0x%llx: the memory was freed before", what,
                 (unsigned long long)address);
    }
    return CUDA_ERROR_ILLEGAL_ADDRESS;
}

static CUresult run_copy(const trcpu_copy_work *copy, trcpu_fault *fault) {
    for (size_t z = 0; z < copy->depth; z++)
        for (size_t y = 0; y < copy->height; y++) {
            uint64_t from = copy->from + z * copy->from_slice + y * copy->from_pitch;
            uint64_t to = copy->to + z * copy->to_slice + y * copy->to_pitch;
            const void *source = copy->staged ? (char *)copy->staged + (z * copy->height + y) * copy->width
                                              : trcpu_bytes(from, copy->width);
            void *target = trcpu_bytes(to, copy->width);
            if (!source || !target) return gone("copy", source ? to : from, fault);
            memmove(target, source, copy->width);
            trcpu_bytes_wrote(to, copy->width);
        }
    return CUDA_SUCCESS;
}

static void fill_row(unsigned char *row, const CUDA_MEMSET_NODE_PARAMS *params) {
    if (params->elementSize == 1) {
        memset(row, (int)params->value, params->width);
        return;
    }
    for (size_t i = 0; i < params->width; i++)
        memcpy(row + i * params->elementSize, &params->value, params->elementSize);
}

static CUresult run_fill(const CUDA_MEMSET_NODE_PARAMS *params, trcpu_fault *fault) {
    size_t bytes = params->width * params->elementSize;
    for (size_t y = 0; y < params->height; y++) {
        uint64_t at = params->dst + y * params->pitch;
        unsigned char *row = trcpu_bytes(at, bytes);
        if (!row) return gone("memset", at, fault);
        fill_row(row, params);
        trcpu_bytes_wrote(at, bytes);
    }
    return CUDA_SUCCESS;
}

static CUresult run_graph(const trcpu_work *work, trcpu_fault *fault) {
    CUresult result = CUDA_SUCCESS;
    for (size_t i = 0; i < work->as.graph.count && !result; i++)
        result = trcpu_work_run(work->as.graph.works[i], CUDA_SUCCESS, fault);
    return result;
}

static CUresult run_free(uint64_t address) {
    pthread_mutex_lock(&trcpu.lock);
    trcpu_allocation_release(address);
    pthread_mutex_unlock(&trcpu.lock);
    return CUDA_SUCCESS;
}

CUresult trcpu_work_run(trcpu_work *work, CUresult before, trcpu_fault *fault) {
    if (work->kind == TRCPU_WORK_CALLBACK) {
        trcpu_this_thread.in_callback = true;
        work->as.callback.fn(work->as.callback.stream, before, work->as.callback.user);
        trcpu_this_thread.in_callback = false;
        return CUDA_SUCCESS;
    }
    if (before) return before;
    switch (work->kind) {
    case TRCPU_WORK_KERNEL: return run_kernel(work, fault);
    case TRCPU_WORK_COPY: return run_copy(&work->as.copy, fault);
    case TRCPU_WORK_FILL: return run_fill(&work->as.fill.params, fault);
    case TRCPU_WORK_FREE: return run_free(work->as.freed);
    case TRCPU_WORK_GRAPH: return run_graph(work, fault);
    case TRCPU_WORK_HOST:
        trcpu_this_thread.in_callback = true;
        work->as.host.fn(work->as.host.user);
        trcpu_this_thread.in_callback = false;
        return CUDA_SUCCESS;
    default: return CUDA_SUCCESS;
    }
}

/* ---- copies ---- */
/* What one side of a copy is: its first byte, and how rows and slices follow. */
static CUresult find_side(CUmemorytype type, const void *host, CUdeviceptr device, size_t x, size_t y,
                          size_t z, size_t pitch, size_t slice_height, const trcpu_copy_work *copy,
                          uint64_t *start, size_t *slice) {
    size_t row = pitch ? pitch : copy->width;
    if (copy->height > 1 && row < copy->width) return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_MEMORYTYPE_HOST && type != CU_MEMORYTYPE_DEVICE && type != CU_MEMORYTYPE_UNIFIED)
        return CUDA_ERROR_INVALID_VALUE; /* arrays: there are none */
    if (type == CU_MEMORYTYPE_HOST && (uint64_t)(uintptr_t)host >> 56)
        return CUDA_ERROR_INVALID_VALUE; /* a device pointer where a host pointer belongs */
    uint64_t base = type == CU_MEMORYTYPE_HOST ? (uint64_t)(uintptr_t)host : device;
    *slice = row * (slice_height ? slice_height : copy->height);
    *start = base + x + y * row + z * *slice;
    uint64_t span = *slice * (copy->depth - 1) + row * (copy->height - 1) + copy->width;
    if (!base || !trcpu_bytes(*start, span)) return CUDA_ERROR_INVALID_VALUE;
    /* A device side must be memory that a device reaches, as a whole. */
    if (type == CU_MEMORYTYPE_DEVICE) {
        const trcpu_allocation *around = trcpu_allocation_around(*start);
        if (!around && !(*start >> 56)) return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

/* Pageable memory may change as soon as the call returns: it is copied now. */
static CUresult stage(trcpu_copy_work *copy) {
    if (copy->from >> 56 || trcpu_allocation_around(copy->from)) return CUDA_SUCCESS;
    copy->staged = malloc(copy->width * copy->height * copy->depth);
    if (!copy->staged) return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t z = 0; z < copy->depth; z++)
        for (size_t y = 0; y < copy->height; y++)
            memcpy((char *)copy->staged + (z * copy->height + y) * copy->width,
                   (char *)(uintptr_t)copy->from + z * copy->from_slice + y * copy->from_pitch, copy->width);
    return CUDA_SUCCESS;
}

CUresult trcpu_copy_make(trcpu_context *context, const CUDA_MEMCPY3D *shape, bool staged, trcpu_work **out) {
    trcpu_work *work = trcpu_work_new(TRCPU_WORK_COPY, context);
    if (!work) return CUDA_ERROR_OUT_OF_MEMORY;
    trcpu_copy_work *copy = &work->as.copy;
    copy->shape = *shape;
    copy->width = shape->WidthInBytes;
    copy->height = shape->Height;
    copy->depth = shape->Depth;
    if (!copy->width || !copy->height || !copy->depth) {
        copy->width = copy->height = copy->depth = 0;
        *out = work;
        return CUDA_SUCCESS;
    }
    copy->from_pitch = shape->srcPitch ? shape->srcPitch : copy->width;
    copy->to_pitch = shape->dstPitch ? shape->dstPitch : copy->width;
    CUresult result =
        find_side(shape->srcMemoryType, shape->srcHost, shape->srcDevice, shape->srcXInBytes, shape->srcY,
                  shape->srcZ, shape->srcPitch, shape->srcHeight, copy, &copy->from, &copy->from_slice);
    if (!result)
        result =
            find_side(shape->dstMemoryType, shape->dstHost, shape->dstDevice, shape->dstXInBytes, shape->dstY,
                      shape->dstZ, shape->dstPitch, shape->dstHeight, copy, &copy->to, &copy->to_slice);
    if (!result && staged) result = stage(copy);
    if (result)
        trcpu_work_release(work);
    else
        *out = work;
    return result;
}

/* ---- fills ---- */
CUresult trcpu_fill_make(trcpu_context *context, const CUDA_MEMSET_NODE_PARAMS *params, trcpu_work **out) {
    size_t bytes = params->width * params->elementSize;
    bool sized = params->elementSize == 1 || params->elementSize == 2 || params->elementSize == 4;
    if (!sized || params->dst % params->elementSize || (params->height > 1 && params->pitch < bytes))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes && params->height) {
        uint64_t span = (params->height - 1) * params->pitch + bytes;
        bool device = params->dst >> 56 || trcpu_allocation_around(params->dst);
        if (!device || !trcpu_bytes(params->dst, span)) return CUDA_ERROR_INVALID_VALUE;
    }
    trcpu_work *work = trcpu_work_new(TRCPU_WORK_FILL, context);
    if (!work) return CUDA_ERROR_OUT_OF_MEMORY;
    work->as.fill.params = *params;
    if (!bytes) work->as.fill.params.height = 0;
    *out = work;
    return CUDA_SUCCESS;
}
