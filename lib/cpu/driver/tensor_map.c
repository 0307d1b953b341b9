/* Tensor maps: encoded by the machine, which is who reads them. */
#include "driver/driver.h"
#include "machine/tensor_map.h"

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                const cuuint64_t *shape, const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2_promotion,
                                CUtensorMapFloatOOBfill fill) {
    trcpu_context *context; /* nothing is read from it, but as everywhere there must be one */
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    bool supported = trcpu.architecture->cluster;
    trcpu_leave(CUDA_SUCCESS);
    if (!supported) return CUDA_ERROR_NOT_SUPPORTED;
    if (!map || !shape || !box || !element_strides || (rank > 1 && !strides)) return CUDA_ERROR_INVALID_VALUE;
    return (CUresult)trcpu_tensor_map_encode(map, type, rank, (uintptr_t)address, shape, strides, box,
                                             element_strides, interleave, swizzle, l2_promotion, fill);
}

CUresult cuTensorMapReplaceAddress(CUtensorMap *map, void *address) {
    return map ? (CUresult)trcpu_tensor_map_replace_address(map, (uintptr_t)address)
               : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                 const cuuint64_t *shape, const cuuint64_t *strides, const int *lower,
                                 const int *upper, cuuint32_t channels, cuuint32_t pixels,
                                 const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                                 CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2_promotion,
                                 CUtensorMapFloatOOBfill fill) {
    return CUDA_ERROR_NOT_SUPPORTED;
}
