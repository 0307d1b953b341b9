/* Stream-ordered memory. An allocation is there at once, which is early enough; a free waits its turn in the
   stream. In a capture the memory belongs to the graph and stays as long as it or an instantiation does. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

static CUresult allocate(CUdeviceptr *address, size_t size, CUmemoryPool handle, bool given,
                         CUstream stream_handle) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(stream_handle, &stream);
    if (result) return result;
    trcpu_pool *pool = given ? trcpu_handle_find(TRCPU_POOL, handle) : stream->context->device->pool;
    if (!address || !size || !pool) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (pool->device != stream->context->device) return trcpu_leave(CUDA_ERROR_NOT_SUPPORTED);
    uint64_t made = 0;
    result = trcpu_allocate(stream->context, TRCPU_DEVICE_MEMORY, size, 0, pool, &made);
    if (!result && stream->capture) {
        result = trcpu_graph_hold_memory(stream->capture->graph, made);
        if (result)
            trcpu_allocation_release(made);
        else
            result = trcpu_capture_record(stream, CU_GRAPH_NODE_TYPE_MEM_ALLOC,
                                          trcpu_work_new(TRCPU_WORK_EMPTY, stream->context));
    }
    if (!result) *address = made;
    return trcpu_leave(result);
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t size, CUstream stream) {
    return allocate(address, size, NULL, false, stream);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t size, CUmemoryPool pool, CUstream stream) {
    return allocate(address, size, pool, true, stream);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    if (!address) return trcpu_leave(CUDA_SUCCESS);
    const trcpu_allocation *allocation = trcpu_allocation_around(address);
    if (!allocation || allocation->address != address || allocation->kind != TRCPU_DEVICE_MEMORY)
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (stream->capture)
        return trcpu_leave(trcpu_capture_record(stream, CU_GRAPH_NODE_TYPE_MEM_FREE,
                                                trcpu_work_new(TRCPU_WORK_EMPTY, stream->context)));
    trcpu_work *work = trcpu_work_new(TRCPU_WORK_FREE, stream->context);
    if (!work) return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    work->as.freed = address;
    return trcpu_leave(trcpu_stream_submit(stream, work));
}

/* ---- pools: what allocations are counted by ---- */
CUresult cuMemPoolCreate(CUmemoryPool *out, const CUmemPoolProps *props) {
    CUresult result = trcpu_enter();
    if (result) return result;
    trcpu_device *device = props ? trcpu_device_find(props->location.id) : NULL;
    if (!out || !device || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
        props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (props->handleTypes != CU_MEM_HANDLE_TYPE_NONE) return trcpu_leave(CUDA_ERROR_NOT_SUPPORTED);
    trcpu_pool *pool = calloc(1, sizeof *pool);
    CUmemoryPool handle = pool ? trcpu_handle_new(TRCPU_POOL, pool) : NULL;
    if (!handle) {
        free(pool);
        return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    pool->handle = handle;
    pool->device = device;
    *out = handle;
    return trcpu_leave(CUDA_SUCCESS);
}

/* Enters, and finds the pool. */
static CUresult enter_pool(CUmemoryPool handle, trcpu_pool **pool) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *pool = trcpu_handle_find(TRCPU_POOL, handle);
    return *pool ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

/* What it still holds goes on living, as in no pool. */
CUresult cuMemPoolDestroy(CUmemoryPool handle) {
    trcpu_pool *pool;
    CUresult result = enter_pool(handle, &pool);
    if (result) return result;
    if (pool == &pool->device->default_pool) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (pool->device->pool == pool) pool->device->pool = &pool->device->default_pool;
    trcpu_pool_forget(pool);
    trcpu_handle_delete(handle);
    free(pool);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value) {
    trcpu_pool *pool;
    CUresult result = enter_pool(handle, &pool);
    if (result) return result;
    if (!value) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: *(int *)value = pool->reuse[attribute]; break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: *(cuuint64_t *)value = pool->threshold; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: *(cuuint64_t *)value = trcpu_pool_used(pool); break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: *(cuuint64_t *)value = pool->used_high; break;
    default: return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    }
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value) {
    trcpu_pool *pool;
    CUresult result = enter_pool(handle, &pool);
    if (result) return result;
    if (!value) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: pool->reuse[attribute] = *(int *)value; break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: pool->threshold = *(cuuint64_t *)value; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        if (*(cuuint64_t *)value) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
        pool->used_high = trcpu_pool_used(pool);
        break;
    default: return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    }
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuMemPoolTrimTo(CUmemoryPool handle, size_t keep) {
    trcpu_pool *pool;
    CUresult result = enter_pool(handle, &pool);
    return result ? result : trcpu_leave(CUDA_SUCCESS);
}

/* ---- the devices' pools ---- */
static CUresult enter_device(CUdevice number, trcpu_device **device) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *device = trcpu_device_find(number);
    return *device ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_DEVICE);
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *out, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    if (!out) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *out = device->default_pool.handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceGetMemPool(CUmemoryPool *out, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    if (!out) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *out = device->pool->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceSetMemPool(CUdevice number, CUmemoryPool handle) {
    trcpu_device *device;
    CUresult result = enter_device(number, &device);
    if (result) return result;
    trcpu_pool *pool = trcpu_handle_find(TRCPU_POOL, handle);
    if (!pool || pool->device != device) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    device->pool = pool;
    return trcpu_leave(CUDA_SUCCESS);
}
