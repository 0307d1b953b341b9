/* Launches: arguments and attributes become a work, or an error that the caller sees at once. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

/* ---- attributes ---- */
static CUresult apply(trcpu_kernel_work *kernel, const CUlaunchAttribute *attribute) {
    const CUlaunchAttributeValue *value = &attribute->value;
    switch (attribute->id) {
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE: kernel->cooperative = value->cooperative != 0; break;
    case CU_LAUNCH_ATTRIBUTE_PRIORITY: kernel->priority = value->priority; break;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        kernel->cluster[0] = value->clusterDim.x;
        kernel->cluster[1] = value->clusterDim.y;
        kernel->cluster[2] = value->clusterDim.z;
        if (!kernel->cluster[0] || !kernel->cluster[1] || !kernel->cluster[2])
            return CUDA_ERROR_INVALID_VALUE;
        break;
    /* Kernels of a stream run one after the other here, which all of these allow. */
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: break;
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
    case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE: return CUDA_ERROR_NOT_SUPPORTED;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult trcpu_kernel_attribute(const trcpu_kernel_work *kernel, CUlaunchAttributeID id,
                                CUlaunchAttributeValue *value) {
    memset(value, 0, sizeof *value);
    switch (id) {
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE: value->cooperative = kernel->cooperative; break;
    case CU_LAUNCH_ATTRIBUTE_PRIORITY: value->priority = kernel->priority; break;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        value->clusterDim.x = kernel->cluster[0];
        value->clusterDim.y = kernel->cluster[1];
        value->clusterDim.z = kernel->cluster[2];
        break;
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE: break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

/* ---- what a device allows ---- */
static uint64_t volume(const uint32_t dims[3]) {
    return (uint64_t)dims[0] * dims[1] * dims[2];
}

static CUresult check_block(const trcpu_callable *callable, const trcpu_kernel_work *kernel) {
    const trcpu_function_info *info = callable->info;
    if (!volume(kernel->grid) || !volume(kernel->block)) return CUDA_ERROR_INVALID_VALUE;
    if (kernel->grid[0] > 0x7fffffff || kernel->grid[1] > 65535 || kernel->grid[2] > 65535)
        return CUDA_ERROR_INVALID_VALUE;
    if (kernel->block[0] > 1024 || kernel->block[1] > 1024 || kernel->block[2] > 64 ||
        volume(kernel->block) > 1024)
        return CUDA_ERROR_INVALID_VALUE;
    if (info->max_threads && volume(kernel->block) > info->max_threads) return CUDA_ERROR_INVALID_VALUE;
    for (int i = 0; i < 3; i++) {
        if (info->required_block[i] && kernel->block[i] != info->required_block[i])
            return CUDA_ERROR_INVALID_VALUE;
        if (info->max_block[i] && volume(info->max_block) < volume(kernel->block))
            return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

static CUresult check_cluster(const trcpu_callable *callable, trcpu_kernel_work *kernel) {
    const uint32_t *required = callable->info->required_cluster;
    if (required[0] && !kernel->cluster[0]) memcpy(kernel->cluster, required, sizeof kernel->cluster);
    if (!kernel->cluster[0]) return CUDA_SUCCESS;
    uint64_t size = volume(kernel->cluster);
    if (!trcpu.architecture->cluster && size > 1) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    if (size > 16 || (size > 8 && !callable->non_portable_cluster)) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    for (int i = 0; i < 3; i++)
        if (kernel->grid[i] % kernel->cluster[i] || (required[0] && kernel->cluster[i] != required[i]))
            return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    return CUDA_SUCCESS;
}

static CUresult check_resources(const trcpu_callable *callable, const trcpu_kernel_work *kernel) {
    if (kernel->shared > (uint32_t)callable->max_dynamic_shared) return CUDA_ERROR_INVALID_VALUE;
    if (!kernel->cooperative) return CUDA_SUCCESS;
    int per_sm = trcpu_occupancy(callable->function, (uint32_t)volume(kernel->block), kernel->shared);
    int processors =
        trcpu_device_attribute(callable->loaded->context->device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    return volume(kernel->grid) > (uint64_t)per_sm * (uint64_t)processors
               ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
               : CUDA_SUCCESS;
}

static CUresult check(const trcpu_callable *callable, trcpu_kernel_work *kernel) {
    CUresult result = check_block(callable, kernel);
    if (!result) result = check_cluster(callable, kernel);
    return result ? result : check_resources(callable, kernel);
}

/* ---- parameters ---- */
static CUresult read_extra(void **extra, const void **buffer, size_t *size) {
    for (; extra[0] != CU_LAUNCH_PARAM_END; extra += 2) {
        if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER)
            *buffer = extra[1];
        else if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE)
            *size = *(const size_t *)extra[1];
        else
            return CUDA_ERROR_INVALID_VALUE;
    }
    return *buffer ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* The buffer and, behind it, a pointer to each parameter in it. */
static CUresult make_room(const trcpu_function_info *info, trcpu_kernel_work *kernel) {
    size_t bytes = (info->parameter_bytes + 15u) / 16 * 16;
    kernel->parameters = calloc(1, bytes + (info->parameter_count + 1) * sizeof *kernel->pointers);
    if (!kernel->parameters) return CUDA_ERROR_OUT_OF_MEMORY;
    kernel->pointers = (void **)(void *)(kernel->parameters + bytes);
    for (uint32_t i = 0; i < info->parameter_count; i++)
        kernel->pointers[i] = kernel->parameters + info->parameters[i].offset;
    return CUDA_SUCCESS;
}

static CUresult read_parameters(const trcpu_function_info *info, void **params, void **extra,
                                trcpu_kernel_work *kernel) {
    CUresult result = make_room(info, kernel);
    if (result || (!info->parameter_count && !extra)) return result;
    if (params && extra) return CUDA_ERROR_INVALID_VALUE;
    if (extra) {
        const void *buffer = NULL;
        size_t size = 0;
        result = read_extra(extra, &buffer, &size);
        if (result || size < info->parameter_bytes) return result ? result : CUDA_ERROR_INVALID_VALUE;
        memcpy(kernel->parameters, buffer, info->parameter_bytes);
        return CUDA_SUCCESS;
    }
    for (uint32_t i = 0; i < info->parameter_count; i++) {
        if (!params || !params[i]) return CUDA_ERROR_INVALID_VALUE;
        memcpy(kernel->pointers[i], params[i], info->parameters[i].size);
    }
    return CUDA_SUCCESS;
}

/* ---- works ---- */
CUresult trcpu_kernel_make(trcpu_callable *callable, const CUlaunchConfig *config, void **params,
                           void **extra, const trcpu_kernel_work *like, trcpu_work **out) {
    if (!callable->loaded->context) return CUDA_ERROR_INVALID_HANDLE; /* unloaded since */
    trcpu_work *work = trcpu_work_new(TRCPU_WORK_KERNEL, callable->loaded->context);
    if (!work) return CUDA_ERROR_OUT_OF_MEMORY;
    trcpu_kernel_work *kernel = &work->as.kernel;
    *kernel = (trcpu_kernel_work){.callable = callable,
                                  .loaded = callable->loaded,
                                  .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
                                  .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
                                  .shared = config->sharedMemBytes};
    kernel->loaded->references++;
    if (like) {
        memcpy(kernel->cluster, like->cluster, sizeof kernel->cluster);
        kernel->cooperative = like->cooperative;
        kernel->priority = like->priority;
    }
    CUresult result = config->numAttrs && !config->attrs ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    for (unsigned int i = 0; i < config->numAttrs && !result; i++) result = apply(kernel, &config->attrs[i]);
    if (!result) result = check(callable, kernel);
    if (!result) result = read_parameters(callable->info, params, extra, kernel);
    if (result)
        trcpu_work_release(work);
    else
        *out = work;
    return result;
}

CUresult trcpu_kernel_remake(const trcpu_work *work, const CUlaunchAttribute *attribute, trcpu_work **out) {
    const trcpu_kernel_work *kernel = &work->as.kernel;
    CUlaunchAttribute copy = *attribute;
    CUlaunchConfig config = {kernel->grid[0],
                             kernel->grid[1],
                             kernel->grid[2],
                             kernel->block[0],
                             kernel->block[1],
                             kernel->block[2],
                             kernel->shared,
                             NULL,
                             &copy,
                             1};
    return trcpu_kernel_make(kernel->callable, &config, kernel->pointers, NULL, kernel, out);
}

/* ---- the calls ---- */
static CUresult launch(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
    trcpu_stream *stream;
    trcpu_work *work;
    CUresult result = trcpu_enter_stream(config->hStream, &stream);
    if (result) return result;
    trcpu_callable *callable = trcpu_callable_find(function);
    if (!callable || callable->loaded->context != stream->context) result = CUDA_ERROR_INVALID_HANDLE;
    if (!result) result = trcpu_kernel_make(callable, config, params, extra, NULL, &work);
    if (result) return trcpu_leave(stream->capture ? trcpu_capture_spoil(stream, result) : result);
    return trcpu_leave(trcpu_stream_submit(stream, work));
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
    return config ? launch(config, function, params, extra) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                        unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared,
                        CUstream stream, void **params, void **extra) {
    CUlaunchConfig config = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, NULL, 0};
    return launch(&config, function, params, extra);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                                   unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                                   unsigned int block_z, unsigned int shared, CUstream stream,
                                   void **params) {
    CUlaunchAttribute cooperative = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value = {.cooperative = 1}};
    CUlaunchConfig config = {grid_x,  grid_y, grid_z, block_x,      block_y,
                             block_z, shared, stream, &cooperative, 1};
    return launch(&config, function, params, NULL);
}
