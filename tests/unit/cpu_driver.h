/* For the tests of the CPU device's driver: a kernel, and the calls under the names that programs use. */
#ifndef TEST_CPU_DRIVER_H
#define TEST_CPU_DRIVER_H

#include "driver/cuda_api.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define CUDA_FUNCTION(name, symbol, since, params) CUresult symbol params;
#include "driver/cuda_symbols.inc"
CUresult trcpu_last_fault(CUcontext context, char *text, size_t size);

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

/* add(out, value, count): out[i] += value for i < count. */
static const char ADD_PTX[] = ".version 8.4\n"
                              ".target sm_80\n"
                              ".address_size 64\n"
                              ".visible .entry add(\n"
                              "    .param .u64 add_param_0,\n"
                              "    .param .u32 add_param_1,\n"
                              "    .param .u32 add_param_2\n"
                              ")\n"
                              "{\n"
                              "    .reg .pred %p<2>;\n"
                              "    .reg .b32 %r<9>;\n"
                              "    .reg .b64 %rd<4>;\n"
                              "    .loc 1 5 0\n"
                              "    ld.param.u64 %rd1, [add_param_0];\n"
                              "    ld.param.u32 %r1, [add_param_1];\n"
                              "    ld.param.u32 %r2, [add_param_2];\n"
                              "    mov.u32 %r3, %ctaid.x;\n"
                              "    mov.u32 %r4, %ntid.x;\n"
                              "    mov.u32 %r5, %tid.x;\n"
                              "    mad.lo.s32 %r6, %r3, %r4, %r5;\n"
                              "    setp.ge.u32 %p1, %r6, %r2;\n"
                              "    @%p1 bra $done;\n"
                              "    mul.wide.u32 %rd2, %r6, 4;\n"
                              "    add.s64 %rd3, %rd1, %rd2;\n"
                              "    .loc 1 7 0\n"
                              "    ld.global.b32 %r7, [%rd3];\n"
                              "    add.s32 %r8, %r7, %r1;\n"
                              "    st.global.b32 [%rd3], %r8;\n"
                              "$done:\n"
                              "    ret;\n"
                              "}\n"
                              ".file 1 \"/src/add.py\"\n";

typedef struct add_kernel {
    CUmodule module;
    CUfunction function;
} add_kernel;

static inline add_kernel load_add(void) {
    add_kernel add;
    OK(cuModuleLoadData(&add.module, ADD_PTX));
    OK(cuModuleGetFunction(&add.function, add.module, "add"));
    return add;
}

static inline CUresult launch_add(CUfunction function, CUstream stream, CUdeviceptr out, uint32_t value,
                                  uint32_t count) {
    void *params[] = {&out, &value, &count};
    return cuLaunchKernel(function, (count + 127) / 128, 1, 1, 128, 1, 1, 0, stream, params, NULL);
}

/* Zeros for every stream: those that don't wait for the legacy stream would otherwise race with the fill. */
static inline CUdeviceptr allocate_zeros(size_t size) {
    CUdeviceptr address = 0;
    OK(cuMemAlloc_v2(&address, size));
    OK(cuMemsetD8_v2(address, 0, size));
    OK(cuStreamSynchronize(NULL));
    return address;
}

/* Each of `count` words at the address is `value`. */
static inline void assert_words(CUdeviceptr address, size_t count, uint32_t value) {
    uint32_t *words = malloc(count * sizeof *words);
    assert_non_null(words);
    OK(cuMemcpyDtoH_v2(words, address, count * sizeof *words));
    for (size_t i = 0; i < count; i++) assert_int_equal(words[i], value);
    free(words);
}

/* Two devices, the first one's primary context current. */
static inline int start_driver(void **state) {
    static CUcontext context;
    setenv("TRITON_RUNNER_CPU_DEVICES", "2", 1);
    if (cuInit(0) || cuDevicePrimaryCtxRetain(&context, 0) || cuCtxSetCurrent(context)) return -1;
    return 0;
}

static inline int stop_driver(void **state) {
    cuCtxSetCurrent(NULL);
    return cuDevicePrimaryCtxRelease_v2(0);
}

#endif
