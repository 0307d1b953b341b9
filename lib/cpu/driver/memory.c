/* Memory: allocated, freed, asked about. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

CUresult cuMemGetInfo_v2(size_t *free_size, size_t *total) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    uint64_t used, capacity;
    trcpu_memory_info(context->device->memory, &used, &capacity);
    if (free_size) *free_size = capacity - used;
    if (total) *total = capacity;
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- device memory ---- */
static CUresult allocate(trcpu_allocation_kind kind, size_t size, unsigned int flags, uint64_t *address) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!size) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    result = trcpu_capture_forbids();
    return trcpu_leave(result ? result : trcpu_allocate(context, kind, size, flags, NULL, address));
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    if (!address) return CUDA_ERROR_INVALID_VALUE;
    uint64_t made = 0;
    CUresult result = allocate(TRCPU_DEVICE_MEMORY, size, 0, &made);
    if (!result) *address = made;
    return result;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                            unsigned int element_size) {
    if (!address || !pitch || !width || !height || width > SIZE_MAX / 2 / height)
        return CUDA_ERROR_INVALID_VALUE;
    if (element_size != 4 && element_size != 8 && element_size != 16) return CUDA_ERROR_INVALID_VALUE;
    size_t row = (width + 511) / 512 * 512;
    CUresult result = cuMemAlloc_v2(address, row * height);
    if (!result) *pitch = row;
    return result;
}

CUresult cuMemAllocManaged(CUdeviceptr *address, size_t size, unsigned int flags) {
    if (!address || flags < 1 || flags > 2) return CUDA_ERROR_INVALID_VALUE;
    uint64_t made = 0;
    CUresult result = allocate(TRCPU_MANAGED, size, flags, &made);
    if (!result) *address = made;
    return result;
}

/* As on a GPU, freeing waits for what may still use the memory. */
static CUresult release(uint64_t address, unsigned int kinds) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result || !address) return result ? result : trcpu_leave(CUDA_SUCCESS);
    const trcpu_allocation *allocation = trcpu_allocation_around(address);
    if (!allocation || allocation->address != address || !(kinds & 1u << allocation->kind))
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    unsigned long long id = allocation->id;
    result = trcpu_capture_forbids();
    if (!result) result = trcpu_context_drain(allocation->context);
    allocation = trcpu_allocation_around(address);
    if (!result && allocation && allocation->id == id) trcpu_allocation_release(address);
    return trcpu_leave(result);
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    return release(address, 1u << TRCPU_DEVICE_MEMORY | 1u << TRCPU_MANAGED);
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    const trcpu_allocation *allocation = trcpu_allocation_around(address);
    if (!allocation) return trcpu_leave(CUDA_ERROR_NOT_FOUND);
    if (base) *base = allocation->address;
    if (size) *size = allocation->size;
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- host memory ---- */
CUresult cuMemHostAlloc(void **out, size_t size, unsigned int flags) {
    if (!out || flags > 7) return CUDA_ERROR_INVALID_VALUE;
    uint64_t made = 0;
    CUresult result = allocate(TRCPU_HOST_MEMORY, size, flags, &made);
    if (!result) *out = (void *)(uintptr_t)made;
    return result;
}

CUresult cuMemAllocHost_v2(void **out, size_t size) {
    return cuMemHostAlloc(out, size, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
}

CUresult cuMemFreeHost(void *memory) {
    return release((uintptr_t)memory, 1u << TRCPU_HOST_MEMORY);
}

CUresult cuMemHostRegister_v2(void *memory, size_t size, unsigned int flags) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!memory || !size || flags > 15 || (uintptr_t)memory + size < size)
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    result = trcpu_capture_forbids();
    return trcpu_leave(result ? result : trcpu_register_host(context, memory, size, flags));
}

CUresult cuMemHostRegister(void *memory, size_t size, unsigned int flags) {
    return cuMemHostRegister_v2(memory, size, flags);
}

CUresult cuMemHostUnregister(void *memory) {
    CUresult result = memory ? release((uintptr_t)memory, 1u << TRCPU_REGISTERED) : CUDA_ERROR_INVALID_VALUE;
    return result == CUDA_ERROR_INVALID_VALUE && memory ? CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED : result;
}

/* The host allocation or registration around a pointer. */
static CUresult enter_host(const void *memory, const trcpu_allocation **allocation) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    *allocation = trcpu_allocation_around((uintptr_t)memory);
    if (!*allocation || (*allocation)->kind == TRCPU_DEVICE_MEMORY)
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *memory, unsigned int flags) {
    const trcpu_allocation *allocation;
    CUresult result = enter_host(memory, &allocation);
    if (result) return result;
    if (!out || flags) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *out = (uintptr_t)memory;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *memory) {
    const trcpu_allocation *allocation;
    CUresult result = enter_host(memory, &allocation);
    if (result) return result;
    if (!flags) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *flags = allocation->flags;
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- asking about a pointer ---- */
/* A pointer that is nobody's has these; cuPointerGetAttributes tells them, cuPointerGetAttribute refuses. */
static const trcpu_allocation NOBODY = {0};

static CUresult attribute_of(const trcpu_allocation *allocation, CUdeviceptr address,
                             CUpointer_attribute attribute, void *data) {
    bool known = allocation != &NOBODY, host = known && allocation->kind != TRCPU_DEVICE_MEMORY;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)data = known ? allocation->context->handle : NULL; break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned int *)data = !known                                      ? 0
                                : host && allocation->kind != TRCPU_MANAGED ? CU_MEMORYTYPE_HOST
                                                                            : CU_MEMORYTYPE_DEVICE;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)data = known ? address : 0; break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        if (known && !host) return CUDA_ERROR_INVALID_VALUE;
        *(void **)data = host ? (void *)(uintptr_t)address : NULL;
        break;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE: *(unsigned int *)data = 0; break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: *(unsigned long long *)data = allocation->id; break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *(unsigned int *)data = known && allocation->kind == TRCPU_MANAGED;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = known ? allocation->context->device->ordinal : -2;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *(CUdeviceptr *)data = allocation->address; break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *(size_t *)data = allocation->size; break;
    case CU_POINTER_ATTRIBUTE_MAPPED: *(unsigned int *)data = known; break;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: *(unsigned long long *)data = 0; break;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: *(unsigned int *)data = known ? 3 : 0; break;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *(CUmemoryPool *)data = allocation->pool ? allocation->pool->handle : NULL;
        break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
    CUresult result = trcpu_enter();
    if (result) return result;
    const trcpu_allocation *allocation = trcpu_allocation_around(address);
    if (!data || !allocation) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    return trcpu_leave(attribute_of(allocation, address, attribute, data));
}

CUresult cuPointerGetAttributes(unsigned int attribute_count, CUpointer_attribute *attributes, void **data,
                                CUdeviceptr address) {
    CUresult result = trcpu_enter();
    if (result) return result;
    if (attribute_count && (!attributes || !data)) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    const trcpu_allocation *allocation = trcpu_allocation_around(address);
    for (unsigned int i = 0; i < attribute_count && !result; i++) {
        if (attributes[i] == CU_POINTER_ATTRIBUTE_HOST_POINTER && address >> 56)
            *(void **)data[i] = NULL;
        else
            result = attribute_of(allocation ? allocation : &NOBODY, address, attributes[i], data[i]);
    }
    return trcpu_leave(result);
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr address) {
    CUresult result = trcpu_enter();
    if (result) return result;
    bool known = trcpu_allocation_around(address) && attribute == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS;
    return trcpu_leave(known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}
