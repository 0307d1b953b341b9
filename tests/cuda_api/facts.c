/* What one header says of the CUDA Driver API: constants, sizes, offsets and, by redeclaration, the
 * functions' types. */
#ifdef REAL_HEADER
#define __CUDA_API_VERSION_INTERNAL /* every version of every function, under its symbol's name */
#include REAL_HEADER
#if REAL_VERSION < 12050
typedef struct CUctxCreateParams CUctxCreateParams;
#endif
#else
#include "driver/cuda_api.h"
#endif
#include "facts.h"

#define SAME_TYPE(name, symbol, since, params) CUresult symbol params;
#define CUDA_FUNCTION                          SAME_TYPE
#include "driver/cuda_symbols.inc"

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)

#define VALUE(name)         {#name, (long long)name},
#define SIZE(type)          {"sizeof(" #type ")", (long long)sizeof(type)},
#define OFFSET(type, field) {"offsetof(" #type ", " #field ")", (long long)offsetof(type, field)},

/* clang-format off */
const fact FACTS[] = {
#include "constants.inc"
    VALUE(CU_STREAM_LEGACY) VALUE(CU_STREAM_PER_THREAD) VALUE(CU_LAUNCH_PARAM_END)
    VALUE(CU_LAUNCH_PARAM_BUFFER_POINTER) VALUE(CU_LAUNCH_PARAM_BUFFER_SIZE)
    VALUE(CU_MEMHOSTALLOC_PORTABLE) VALUE(CU_MEMHOSTALLOC_DEVICEMAP) VALUE(CU_MEMHOSTALLOC_WRITECOMBINED)
    VALUE(CU_MEMHOSTREGISTER_PORTABLE) VALUE(CU_MEMHOSTREGISTER_DEVICEMAP)
    VALUE(CU_MEMHOSTREGISTER_IOMEMORY) VALUE(CU_MEMHOSTREGISTER_READ_ONLY)
    VALUE(CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) VALUE(CU_GRAPH_USER_OBJECT_MOVE)
    VALUE(CU_TENSOR_MAP_NUM_QWORDS)
    SIZE(CUdevice)
    SIZE(CUdeviceptr)
    SIZE(CUcontext)
    SIZE(CUresult)
    SIZE(CUuuid)
    SIZE(CUdevprop) OFFSET(CUdevprop, sharedMemPerBlock) OFFSET(CUdevprop, textureAlign)
    SIZE(CUexecAffinityParam) OFFSET(CUexecAffinityParam, param)
    SIZE(CUlaunchAttributeValue)
    SIZE(CUlaunchAttribute) OFFSET(CUlaunchAttribute, value) OFFSET(CUlaunchAttribute, value.clusterDim.z)
    OFFSET(CUlaunchAttribute, value.programmaticEvent.triggerAtBlockStart)
    OFFSET(CUlaunchAttribute, value.priority)
    SIZE(CUlaunchConfig) OFFSET(CUlaunchConfig, gridDimX) OFFSET(CUlaunchConfig, gridDimZ)
    OFFSET(CUlaunchConfig, blockDimX) OFFSET(CUlaunchConfig, blockDimZ)
    OFFSET(CUlaunchConfig, sharedMemBytes) OFFSET(CUlaunchConfig, hStream) OFFSET(CUlaunchConfig, attrs)
    OFFSET(CUlaunchConfig, numAttrs)
    SIZE(CUDA_MEMCPY2D) OFFSET(CUDA_MEMCPY2D, srcMemoryType) OFFSET(CUDA_MEMCPY2D, srcHost)
    OFFSET(CUDA_MEMCPY2D, srcDevice) OFFSET(CUDA_MEMCPY2D, srcPitch) OFFSET(CUDA_MEMCPY2D, dstXInBytes)
    OFFSET(CUDA_MEMCPY2D, dstMemoryType) OFFSET(CUDA_MEMCPY2D, dstHost) OFFSET(CUDA_MEMCPY2D, dstDevice)
    OFFSET(CUDA_MEMCPY2D, dstPitch) OFFSET(CUDA_MEMCPY2D, WidthInBytes) OFFSET(CUDA_MEMCPY2D, Height)
    SIZE(CUDA_MEMCPY3D) OFFSET(CUDA_MEMCPY3D, srcLOD) OFFSET(CUDA_MEMCPY3D, srcMemoryType)
    OFFSET(CUDA_MEMCPY3D, srcHost) OFFSET(CUDA_MEMCPY3D, srcDevice) OFFSET(CUDA_MEMCPY3D, srcPitch)
    OFFSET(CUDA_MEMCPY3D, srcHeight) OFFSET(CUDA_MEMCPY3D, dstXInBytes) OFFSET(CUDA_MEMCPY3D, dstMemoryType)
    OFFSET(CUDA_MEMCPY3D, dstHost) OFFSET(CUDA_MEMCPY3D, dstDevice) OFFSET(CUDA_MEMCPY3D, dstPitch)
    OFFSET(CUDA_MEMCPY3D, dstHeight) OFFSET(CUDA_MEMCPY3D, WidthInBytes) OFFSET(CUDA_MEMCPY3D, Depth)
    SIZE(CUmemLocation) OFFSET(CUmemLocation, id)
    SIZE(CUmemPoolProps) OFFSET(CUmemPoolProps, location) OFFSET(CUmemPoolProps, maxSize)
    SIZE(CUDA_KERNEL_NODE_PARAMS_v1) OFFSET(CUDA_KERNEL_NODE_PARAMS_v1, extra)
    SIZE(CUDA_KERNEL_NODE_PARAMS_v2) OFFSET(CUDA_KERNEL_NODE_PARAMS_v2, func)
    OFFSET(CUDA_KERNEL_NODE_PARAMS_v2, gridDimX) OFFSET(CUDA_KERNEL_NODE_PARAMS_v2, blockDimX)
    OFFSET(CUDA_KERNEL_NODE_PARAMS_v2, sharedMemBytes) OFFSET(CUDA_KERNEL_NODE_PARAMS_v2, kernelParams)
    OFFSET(CUDA_KERNEL_NODE_PARAMS_v2, extra) OFFSET(CUDA_KERNEL_NODE_PARAMS_v2, kern)
    OFFSET(CUDA_KERNEL_NODE_PARAMS_v2, ctx)
    SIZE(CUDA_MEMSET_NODE_PARAMS) OFFSET(CUDA_MEMSET_NODE_PARAMS, pitch)
    OFFSET(CUDA_MEMSET_NODE_PARAMS, value) OFFSET(CUDA_MEMSET_NODE_PARAMS, elementSize)
    OFFSET(CUDA_MEMSET_NODE_PARAMS, width) OFFSET(CUDA_MEMSET_NODE_PARAMS, height)
    SIZE(CUDA_HOST_NODE_PARAMS) OFFSET(CUDA_HOST_NODE_PARAMS, userData)
    SIZE(CUgraphEdgeData) OFFSET(CUgraphEdgeData, type)
    SIZE(CUDA_GRAPH_INSTANTIATE_PARAMS) OFFSET(CUDA_GRAPH_INSTANTIATE_PARAMS, hErrNode_out)
    OFFSET(CUDA_GRAPH_INSTANTIATE_PARAMS, result_out)
    SIZE(CUgraphExecUpdateResultInfo) OFFSET(CUgraphExecUpdateResultInfo, errorFromNode)
    SIZE(CUtensorMap)
#if REAL_VERSION >= 12050
    SIZE(CUctxCreateParams) OFFSET(CUctxCreateParams, cigParams)
#endif
};
/* clang-format on */
const size_t JOIN(FACTS, _count) = sizeof FACTS / sizeof FACTS[0];
