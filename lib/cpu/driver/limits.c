/* What a context can be told and asked, most of it without effect here: limits, caches, flags. */
#include "driver/driver.h"

CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!value) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if ((unsigned int)limit > CU_LIMIT_PERSISTING_L2_CACHE_SIZE)
        return trcpu_leave(CUDA_ERROR_UNSUPPORTED_LIMIT);
    *value = context->limits[limit];
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if ((unsigned int)limit > CU_LIMIT_PERSISTING_L2_CACHE_SIZE)
        return trcpu_leave(CUDA_ERROR_UNSUPPORTED_LIMIT);
    context->limits[limit] = value;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxGetFlags(unsigned int *flags) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!flags) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *flags = context->flags;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxSetFlags(unsigned int flags) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (flags & ~(unsigned int)CU_CTX_FLAGS_MASK) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    context->flags = flags;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxGetCacheConfig(CUfunc_cache *config) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!config) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *config = context->cache;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxSetCacheConfig(CUfunc_cache config) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if ((unsigned int)config > CU_FUNC_CACHE_PREFER_EQUAL) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    context->cache = config;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxGetSharedMemConfig(CUsharedconfig *config) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!config) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *config = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxSetSharedMemConfig(CUsharedconfig config) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    return result ? result : trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuCtxResetPersistingL2Cache(void) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    return result ? result : trcpu_leave(CUDA_SUCCESS);
}
