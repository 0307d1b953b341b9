/* A launch by a program that knows everything: one dimension of CTAs of 128 threads, no attributes, arguments that are
   packed already. What every other way is compared with. */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include "driver/cuda_api.h"

#include <stddef.h>
#include <stdint.h>

typedef CUresult raw_call(const CUlaunchConfig *config, CUfunction function, void **params, void **extra);

static inline CUresult raw_launch(raw_call *call, CUfunction function, uint32_t grid, CUstream stream,
                                  const void *packed, size_t size) {
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    CUlaunchConfig config = {.gridDimX = grid,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = 128,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .hStream = stream};
    return call(&config, function, NULL, extra);
}

#endif
