/* Copies and fills: what the calls ask for, put into one shape. */
#include "driver/driver.h"

/* ---- copies ---- */
/* With memory that is no device's and not pinned the call lasts until the copy is done, as CUDA's does. */
static bool is_pageable(const trcpu_work *work) {
    uint64_t to = work->as.copy.to;
    return to && !(to >> 56) && !trcpu_allocation_around(to);
}

static CUresult copy_now(const CUDA_MEMCPY3D *shape) {
    trcpu_context *context;
    trcpu_work *work;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    result = trcpu_copy_make(context, shape, false, &work);
    return trcpu_leave(result ? result : trcpu_work_do(context, work));
}

static CUresult copy_later(const CUDA_MEMCPY3D *shape, CUstream handle) {
    trcpu_stream *stream;
    trcpu_work *work;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    bool captured = stream->capture != NULL;
    result = trcpu_copy_make(stream->context, shape, !captured, &work);
    if (result) return trcpu_leave(result);
    bool wait = !captured && is_pageable(work);
    result = trcpu_stream_submit(stream, work);
    return trcpu_leave(result || !wait ? result : trcpu_stream_drain(stream));
}

static CUDA_MEMCPY3D line(CUmemorytype to_type, uint64_t to, CUmemorytype from_type, uint64_t from,
                          size_t size) {
    return (CUDA_MEMCPY3D){.srcMemoryType = from_type,
                           .srcHost = from_type == CU_MEMORYTYPE_HOST ? (const void *)(uintptr_t)from : NULL,
                           .srcDevice = from_type == CU_MEMORYTYPE_HOST ? 0 : from,
                           .dstMemoryType = to_type,
                           .dstHost = to_type == CU_MEMORYTYPE_HOST ? (void *)(uintptr_t)to : NULL,
                           .dstDevice = to_type == CU_MEMORYTYPE_HOST ? 0 : to,
                           .WidthInBytes = size,
                           .Height = 1,
                           .Depth = 1};
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) {
    CUDA_MEMCPY3D shape = line(CU_MEMORYTYPE_DEVICE, to, CU_MEMORYTYPE_HOST, (uintptr_t)from, size);
    return copy_now(&shape);
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) {
    CUDA_MEMCPY3D shape = line(CU_MEMORYTYPE_HOST, (uintptr_t)to, CU_MEMORYTYPE_DEVICE, from, size);
    return copy_now(&shape);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) {
    CUDA_MEMCPY3D shape = line(CU_MEMORYTYPE_DEVICE, to, CU_MEMORYTYPE_DEVICE, from, size);
    return copy_now(&shape);
}

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t size) {
    CUDA_MEMCPY3D shape = line(CU_MEMORYTYPE_UNIFIED, to, CU_MEMORYTYPE_UNIFIED, from, size);
    return copy_now(&shape);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
    CUDA_MEMCPY3D shape = line(CU_MEMORYTYPE_DEVICE, to, CU_MEMORYTYPE_HOST, (uintptr_t)from, size);
    return copy_later(&shape, stream);
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
    CUDA_MEMCPY3D shape = line(CU_MEMORYTYPE_HOST, (uintptr_t)to, CU_MEMORYTYPE_DEVICE, from, size);
    return copy_later(&shape, stream);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    CUDA_MEMCPY3D shape = line(CU_MEMORYTYPE_DEVICE, to, CU_MEMORYTYPE_DEVICE, from, size);
    return copy_later(&shape, stream);
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    CUDA_MEMCPY3D shape = line(CU_MEMORYTYPE_UNIFIED, to, CU_MEMORYTYPE_UNIFIED, from, size);
    return copy_later(&shape, stream);
}

/* An address tells whose it is; the contexts tell nothing more. */
CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                      size_t size) {
    return cuMemcpyDtoD_v2(to, from, size);
}

CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                           size_t size, CUstream stream) {
    return cuMemcpyDtoDAsync_v2(to, from, size, stream);
}

static CUDA_MEMCPY3D plane(const CUDA_MEMCPY2D *copy) {
    return (CUDA_MEMCPY3D){.srcXInBytes = copy->srcXInBytes,
                           .srcY = copy->srcY,
                           .srcMemoryType = copy->srcMemoryType,
                           .srcHost = copy->srcHost,
                           .srcDevice = copy->srcDevice,
                           .srcPitch = copy->srcPitch,
                           .dstXInBytes = copy->dstXInBytes,
                           .dstY = copy->dstY,
                           .dstMemoryType = copy->dstMemoryType,
                           .dstHost = copy->dstHost,
                           .dstDevice = copy->dstDevice,
                           .dstPitch = copy->dstPitch,
                           .WidthInBytes = copy->WidthInBytes,
                           .Height = copy->Height,
                           .Depth = 1};
}

CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *copy) {
    if (!copy) return CUDA_ERROR_INVALID_VALUE;
    CUDA_MEMCPY3D shape = plane(copy);
    return copy_now(&shape);
}

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *copy) {
    return cuMemcpy2DUnaligned_v2(copy);
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream) {
    if (!copy) return CUDA_ERROR_INVALID_VALUE;
    CUDA_MEMCPY3D shape = plane(copy);
    return copy_later(&shape, stream);
}

CUresult cuMemcpy3D_v2(const CUDA_MEMCPY3D *copy) {
    return copy ? copy_now(copy) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *copy, CUstream stream) {
    return copy ? copy_later(copy, stream) : CUDA_ERROR_INVALID_VALUE;
}

/* ---- fills: all of them return before the memory is written, as CUDA's of device memory do ---- */
static CUresult fill(CUdeviceptr to, size_t pitch, unsigned int value, unsigned int element_size,
                     size_t width, size_t height, CUstream handle) {
    trcpu_stream *stream;
    trcpu_work *work;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    CUDA_MEMSET_NODE_PARAMS params = {to, pitch, value, element_size, width, height};
    result = trcpu_fill_make(stream->context, &params, &work);
    return trcpu_leave(result ? result : trcpu_stream_submit(stream, work));
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
    return fill(to, 0, value, 1, count, 1, NULL);
}

CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
    return fill(to, 0, value, 2, count, 1, NULL);
}

CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned int value, size_t count) {
    return fill(to, 0, value, 4, count, 1, NULL);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
    return fill(to, 0, value, 1, count, 1, stream);
}

CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
    return fill(to, 0, value, 2, count, 1, stream);
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream stream) {
    return fill(to, 0, value, 4, count, 1, stream);
}

CUresult cuMemsetD2D8_v2(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height) {
    return fill(to, pitch, value, 1, width, height, NULL);
}

CUresult cuMemsetD2D16_v2(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height) {
    return fill(to, pitch, value, 2, width, height, NULL);
}

CUresult cuMemsetD2D32_v2(CUdeviceptr to, size_t pitch, unsigned int value, size_t width, size_t height) {
    return fill(to, pitch, value, 4, width, height, NULL);
}

CUresult cuMemsetD2D8Async(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height,
                           CUstream stream) {
    return fill(to, pitch, value, 1, width, height, stream);
}

CUresult cuMemsetD2D16Async(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height,
                            CUstream stream) {
    return fill(to, pitch, value, 2, width, height, stream);
}

CUresult cuMemsetD2D32Async(CUdeviceptr to, size_t pitch, unsigned int value, size_t width, size_t height,
                            CUstream stream) {
    return fill(to, pitch, value, 4, width, height, stream);
}
