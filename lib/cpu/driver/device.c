/* The devices: equal ones, each with a memory of its own, modelled after the GPU of their architecture. */
#include "driver/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Few, so that a persistent kernel is not spread thinner than a CPU likes. */
enum { MULTIPROCESSORS = 16, SHARED_PER_BLOCK = 48 << 10 };

static const trcpu_architecture ARCHITECTURES[] = {
    {75, 1024, 16, 64 << 10, 64 << 10, 0, false},     {80, 2048, 32, 164 << 10, 163 << 10, 1024, false},
    {86, 1536, 16, 100 << 10, 99 << 10, 1024, false}, {89, 1536, 24, 100 << 10, 99 << 10, 1024, false},
    {90, 2048, 32, 228 << 10, 227 << 10, 1024, true},
};

const trcpu_architecture *trcpu_architecture_find(const char *name) {
    int number = 89;
    if (name && *name) {
        char after = 0;
        int read = sscanf(name, "sm_%d%c", &number, &after);
        if (read < 1 || (read == 2 && after != 'a')) return NULL;
    }
    for (size_t i = 0; i < sizeof ARCHITECTURES / sizeof ARCHITECTURES[0]; i++)
        if (ARCHITECTURES[i].number == number) return &ARCHITECTURES[i];
    return NULL;
}

CUresult trcpu_devices_start(int count) {
    uint64_t capacity = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);
    for (trcpu.device_count = 0; trcpu.device_count < count; trcpu.device_count++) {
        trcpu_device *device = &trcpu.devices[trcpu.device_count];
        *device = (trcpu_device){.ordinal = trcpu.device_count, .memory = trcpu_memory_create(capacity)};
        if (device->memory && !trcpu_memory_watch(device->memory, trcpu.checks)) {
            trcpu_memory_destroy(device->memory);
            device->memory = NULL;
        }
        device->primary_handle = device->memory ? trcpu_handle_new(TRCPU_CONTEXT, NULL) : NULL;
        device->pool = &device->default_pool;
        device->pool->device = device;
        device->pool->handle = device->primary_handle ? trcpu_handle_new(TRCPU_POOL, device->pool) : NULL;
        if (!device->pool->handle) {
            if (device->memory) trcpu_memory_destroy(device->memory);
            while (trcpu.device_count > 0) trcpu_memory_destroy(trcpu.devices[--trcpu.device_count].memory);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    return CUDA_SUCCESS;
}

trcpu_device *trcpu_device_find(CUdevice device) {
    return device >= 0 && device < trcpu.device_count ? &trcpu.devices[device] : NULL;
}

CUresult cuDeviceGetCount(int *count) {
    CUresult result = trcpu_enter();
    if (result) return result;
    if (!count) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *count = trcpu.device_count;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    CUresult result = trcpu_enter();
    if (result) return result;
    if (!device) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (!trcpu_device_find(ordinal)) return trcpu_leave(CUDA_ERROR_INVALID_DEVICE);
    *device = ordinal;
    return trcpu_leave(CUDA_SUCCESS);
}

/* Enters, and finds the device of a call that has nothing else to check. */
static CUresult enter_device(CUdevice number, const void *out, trcpu_device **device) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *device = trcpu_device_find(number);
    if (!*device) return trcpu_leave(CUDA_ERROR_INVALID_DEVICE);
    return out ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuDeviceGetName(char *name, int size, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, name, &device);
    if (result) return result;
    if (size <= 0) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    snprintf(name, (size_t)size, "Triton Runner CPU (sm_%d)", trcpu.architecture->number);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, uuid, &device);
    if (result) return result;
    memcpy(uuid->bytes, "triton-runner-00", sizeof uuid->bytes);
    uuid->bytes[15] = (char)('0' + device->ordinal);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice number) {
    return cuDeviceGetUuid_v2(uuid, number);
}

CUresult cuDeviceTotalMem_v2(size_t *size, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, size, &device);
    if (result) return result;
    uint64_t used, capacity;
    trcpu_memory_info(device->memory, &used, &capacity);
    *size = capacity;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceGetPCIBusId(char *bus_id, int size, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, bus_id, &device);
    if (result) return result;
    if (size < 13) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    snprintf(bus_id, (size_t)size, "ffff:%02x:00.0", device->ordinal);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *bus_id) {
    CUresult result = trcpu_enter();
    if (result) return result;
    unsigned int domain, bus;
    if (!device || !bus_id || sscanf(bus_id, "%x:%x", &domain, &bus) != 2)
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (domain != 0xffff || !trcpu_device_find((CUdevice)bus)) return trcpu_leave(CUDA_ERROR_INVALID_DEVICE);
    *device = (CUdevice)bus;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, major && minor ? major : NULL, &device);
    if (result) return result;
    *major = trcpu.architecture->number / 10;
    *minor = trcpu.architecture->number % 10;
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- attributes ---- */
int trcpu_device_attribute(const trcpu_device *device, CUdevice_attribute attribute) {
    const trcpu_architecture *architecture = trcpu.architecture;
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return SHARED_PER_BLOCK;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 64 << 10;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: return 64 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 64 << 10;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1000000;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 1000000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 128;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 1 << 20;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT: return 512;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT: return 32;
    case CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT: return 512;
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP: return 1;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 1;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return MULTIPROCESSORS;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return architecture->threads_per_sm;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return architecture->blocks_per_sm;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return architecture->shared_per_sm;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return architecture->shared_per_block;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return architecture->shared_reserved;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return architecture->number / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return architecture->number % 10;
    case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH: return architecture->cluster;
    case CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED: return architecture->cluster;
    case CU_DEVICE_ATTRIBUTE_MEM_SYNC_DOMAIN_COUNT: return 1;
    case CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO: return 2;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return device->ordinal;
    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID: return 0xffff;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return 1;
    default: return 0; /* what the device does not have */
    }
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice number) {
    enum { LAST_ATTRIBUTE = 147 };
    trcpu_device *device;
    CUresult result = enter_device(number, value, &device);
    if (result) return result;
    if ((int)attribute < 1 || (int)attribute > LAST_ATTRIBUTE) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *value = trcpu_device_attribute(device, attribute);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuDeviceGetProperties(CUdevprop *properties, CUdevice number) {
    trcpu_device *device;
    CUresult result = enter_device(number, properties, &device);
    if (result) return result;
    *properties = (CUdevprop){.maxThreadsPerBlock = 1024,
                              .maxThreadsDim = {1024, 1024, 64},
                              .maxGridSize = {0x7fffffff, 65535, 65535},
                              .sharedMemPerBlock = SHARED_PER_BLOCK,
                              .totalConstantMemory = 64 << 10,
                              .SIMDWidth = 32,
                              .memPitch = 0x7fffffff,
                              .regsPerBlock = 64 << 10,
                              .clockRate = 1000000,
                              .textureAlign = 512};
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- peers: memories are apart, as on GPUs without NVLink and without peer access; cuMemcpyPeer copies ----
 */
CUresult cuDeviceCanAccessPeer(int *can, CUdevice number, CUdevice peer) {
    trcpu_device *device;
    CUresult result = enter_device(number, can, &device);
    if (result) return result;
    if (!trcpu_device_find(peer)) return trcpu_leave(CUDA_ERROR_INVALID_DEVICE);
    *can = 0;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    return result ? result : trcpu_leave(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
}

CUresult cuCtxDisablePeerAccess(CUcontext peer) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    return result ? result : trcpu_leave(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
}
