/* Functions: what they need, and how many of them fit. A CUkernel is its function. */
#include "driver/driver.h"

trcpu_callable *trcpu_callable_find(CUfunction handle) {
    return trcpu_handle_find(TRCPU_FUNCTION, handle);
}

/* Shared memory that a launch may ask for: up to 48 KiB with what is static, or to the device's limit on
 * request. */
int trcpu_shared_limit(const trcpu_function_info *info, bool opted_in) {
    int limit = opted_in ? trcpu.architecture->shared_per_block : 48 << 10;
    return limit > (int)info->static_shared ? limit - (int)info->static_shared : 0;
}

/* Enters, and finds the function. */
static CUresult enter_function(CUfunction handle, const void *out, trcpu_callable **callable) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    *callable = trcpu_callable_find(handle);
    if (!*callable) return trcpu_leave(CUDA_ERROR_INVALID_HANDLE);
    return out ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

/* ---- attributes ---- */
static CUresult attribute_of(const trcpu_callable *callable, CUfunction_attribute attribute, int *value) {
    const trcpu_function_info *info = callable->info;
    const uint32_t *cluster = info->required_cluster;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = info->max_threads ? (int)info->max_threads : 1024;
        break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = (int)info->static_shared; break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES: *value = (int)info->constant_bytes; break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = (int)info->local_bytes; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = (int)info->registers; break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: *value = info->target_arch; break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = trcpu.architecture->number; break;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA: *value = 0; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = callable->max_dynamic_shared; break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: *value = callable->carveout; break;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET: *value = 0; break;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH: *value = (int)cluster[0]; break;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT: *value = (int)cluster[1]; break;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH: *value = (int)cluster[2]; break;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED: *value = callable->non_portable_cluster; break;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE: *value = 0; break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

static CUresult set_attribute(trcpu_callable *callable, CUfunction_attribute attribute, int value) {
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        if (value < 0 || value > trcpu_shared_limit(callable->info, true)) return CUDA_ERROR_INVALID_VALUE;
        callable->max_dynamic_shared = value;
        break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        if (value < -1 || value > 100) return CUDA_ERROR_INVALID_VALUE;
        callable->carveout = value;
        break;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        if (!trcpu.architecture->cluster) return CUDA_ERROR_NOT_SUPPORTED;
        callable->non_portable_cluster = value != 0;
        break;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE: break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, value, &callable);
    return result ? result : trcpu_leave(attribute_of(callable, attribute, value));
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, function, &callable);
    return result ? result : trcpu_leave(set_attribute(callable, attribute, value));
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, function, &callable);
    if (result) return result;
    return trcpu_leave((unsigned int)config > CU_FUNC_CACHE_PREFER_EQUAL ? CUDA_ERROR_INVALID_VALUE
                                                                         : CUDA_SUCCESS);
}

CUresult cuFuncSetSharedMemConfig(CUfunction function, CUsharedconfig config) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, function, &callable);
    return result ? result : trcpu_leave(CUDA_SUCCESS);
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction function) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, module, &callable);
    if (result) return result;
    *module = callable->loaded->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuFuncGetName(const char **name, CUfunction function) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, name, &callable);
    if (result) return result;
    *name = callable->info->name;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, offset, &callable);
    if (result) return result;
    if (index >= callable->info->parameter_count) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *offset = callable->info->parameters[index].offset;
    if (size) *size = callable->info->parameters[index].size;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, state, &callable);
    if (result) return result;
    *state = CU_FUNCTION_LOADING_STATE_LOADED;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuFuncLoad(CUfunction function) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, function, &callable);
    return result ? result : trcpu_leave(CUDA_SUCCESS);
}

/* ---- kernels of libraries ---- */
CUresult cuKernelGetFunction(CUfunction *out, CUkernel kernel) {
    trcpu_callable *callable;
    CUresult result = enter_function((CUfunction)(void *)kernel, out, &callable);
    if (result) return result;
    *out = callable->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuKernelGetLibrary(CUlibrary *out, CUkernel kernel) {
    return cuFuncGetModule((CUmodule *)(void *)out, (CUfunction)(void *)kernel);
}

CUresult cuKernelGetName(const char **name, CUkernel kernel) {
    return cuFuncGetName(name, (CUfunction)(void *)kernel);
}

CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device) {
    return cuFuncGetAttribute(value, attribute, (CUfunction)(void *)kernel);
}

CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice device) {
    return cuFuncSetAttribute((CUfunction)(void *)kernel, attribute, value);
}

CUresult cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice device) {
    return cuFuncSetCacheConfig((CUfunction)(void *)kernel, config);
}

CUresult cuKernelGetParamInfo(CUkernel kernel, size_t index, size_t *offset, size_t *size) {
    return cuFuncGetParamInfo((CUfunction)(void *)kernel, index, offset, size);
}

/* ---- occupancy ---- */
static int blocks_of(const trcpu_callable *callable, int block_size, size_t dynamic_shared) {
    if (dynamic_shared > (size_t)trcpu_shared_limit(callable->info, true)) return 0;
    return trcpu_occupancy(callable->function, (uint32_t)block_size, (uint32_t)dynamic_shared);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function,
                                                              int block_size, size_t dynamic_shared,
                                                              unsigned int flags) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, blocks, &callable);
    if (result) return result;
    if (block_size <= 0 || flags > 1) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *blocks = blocks_of(callable, block_size, dynamic_shared);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block_size,
                                                     size_t dynamic_shared) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block_size, dynamic_shared,
                                                                0);
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid_size, int *block_size, CUfunction function,
                                                   CUoccupancyB2DSize dynamic_shared_of,
                                                   size_t dynamic_shared, int limit, unsigned int flags) {
    size_t shared[1024 / 32 + 1]; /* by warps; asked for before the lock is taken */
    for (int warps = 1; warps <= 1024 / 32; warps++)
        shared[warps] = dynamic_shared_of ? dynamic_shared_of(32 * warps) : dynamic_shared;
    trcpu_callable *callable;
    CUresult result = enter_function(function, grid_size && block_size ? block_size : NULL, &callable);
    if (result) return result;
    int most = 1024, best = 0, best_threads = 0, best_blocks = 0;
    if (callable->info->max_threads && (int)callable->info->max_threads < most)
        most = (int)callable->info->max_threads;
    if (limit > 0 && limit < most) most = limit;
    for (int size = most / 32 * 32; size > 0; size -= 32) {
        int blocks = blocks_of(callable, size, shared[size / 32]);
        if (blocks * size > best_threads) {
            best_threads = blocks * size;
            best_blocks = blocks;
            best = size;
        }
    }
    *block_size = best;
    *grid_size = best_blocks * trcpu_device_attribute(callable->loaded->context->device,
                                                      CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuOccupancyMaxPotentialBlockSize(int *grid_size, int *block_size, CUfunction function,
                                          CUoccupancyB2DSize dynamic_shared_of, size_t dynamic_shared,
                                          int limit) {
    return cuOccupancyMaxPotentialBlockSizeWithFlags(grid_size, block_size, function, dynamic_shared_of,
                                                     dynamic_shared, limit, 0);
}

CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *dynamic_shared, CUfunction function, int blocks,
                                                 int block_size) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, dynamic_shared, &callable);
    if (result) return result;
    if (blocks <= 0 || block_size <= 0) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    const trcpu_architecture *architecture = trcpu.architecture;
    int each = architecture->shared_per_sm / blocks - architecture->shared_reserved -
               (int)callable->info->static_shared;
    int most = trcpu_shared_limit(callable->info, true);
    *dynamic_shared = each < 0 ? 0 : (size_t)(each < most ? each : most);
    return trcpu_leave(CUDA_SUCCESS);
}

static unsigned int cluster_of(const CUlaunchConfig *config) {
    for (unsigned int i = 0; i < config->numAttrs; i++)
        if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
            return config->attrs[i].value.clusterDim.x * config->attrs[i].value.clusterDim.y *
                   config->attrs[i].value.clusterDim.z;
    return 1;
}

CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction function, const CUlaunchConfig *config) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, clusters && config ? config : NULL, &callable);
    if (result) return result;
    unsigned int size = cluster_of(config), most = callable->non_portable_cluster ? 16 : 8;
    if (!trcpu.architecture->cluster || !size || size > most)
        return trcpu_leave(CUDA_ERROR_INVALID_CLUSTER_SIZE);
    int threads = (int)(config->blockDimX * config->blockDimY * config->blockDimZ);
    int processors =
        trcpu_device_attribute(callable->loaded->context->device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    *clusters = blocks_of(callable, threads, config->sharedMemBytes) * processors / (int)size;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuOccupancyMaxPotentialClusterSize(int *cluster_size, CUfunction function,
                                            const CUlaunchConfig *config) {
    trcpu_callable *callable;
    CUresult result = enter_function(function, cluster_size && config ? config : NULL, &callable);
    if (result) return result;
    if (!trcpu.architecture->cluster) return trcpu_leave(CUDA_ERROR_NOT_SUPPORTED);
    *cluster_size = callable->non_portable_cluster ? 16 : 8;
    return trcpu_leave(CUDA_SUCCESS);
}
