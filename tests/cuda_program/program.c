/* Any CUDA program: adds two vectors in a stream, then in a captured graph, and looks at the numbers. */
#include <cuda.h>

#include <stdio.h>
#include <stdlib.h>

#define CHECK(call)                                                                                          \
    do {                                                                                                     \
        CUresult checked = call;                                                                             \
        const char *text = "?";                                                                              \
        if (checked) {                                                                                       \
            cuGetErrorString(checked, &text);                                                                \
            printf("%s: %s\n", #call, text);                                                                 \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

enum { COUNT = 10000 };

static const char PTX[] = ".version 7.0\n.target sm_75\n.address_size 64\n"
                          ".visible .entry vector_add(\n"
                          "  .param .u64 a, .param .u64 b, .param .u64 c, .param .f32 scale, .param .u32 n)\n"
                          "{\n"
                          "  .reg .pred %p<2>; .reg .f32 %f<5>; .reg .b32 %r<6>; .reg .b64 %rd<8>;\n"
                          "  ld.param.u64 %rd1, [a];\n"
                          "  ld.param.u64 %rd2, [b];\n"
                          "  ld.param.u64 %rd3, [c];\n"
                          "  ld.param.f32 %f1, [scale];\n"
                          "  ld.param.u32 %r1, [n];\n"
                          "  mov.u32 %r2, %ctaid.x;\n"
                          "  mov.u32 %r3, %ntid.x;\n"
                          "  mov.u32 %r4, %tid.x;\n"
                          "  mad.lo.s32 %r5, %r2, %r3, %r4;\n"
                          "  setp.ge.s32 %p1, %r5, %r1;\n"
                          "  @%p1 bra done;\n"
                          "  mul.wide.s32 %rd4, %r5, 4;\n"
                          "  add.s64 %rd5, %rd1, %rd4;\n"
                          "  add.s64 %rd6, %rd2, %rd4;\n"
                          "  add.s64 %rd7, %rd3, %rd4;\n"
                          "  ld.global.f32 %f2, [%rd5];\n"
                          "  ld.global.f32 %f3, [%rd6];\n"
                          "  fma.rn.f32 %f4, %f3, %f1, %f2;\n"
                          "  st.global.f32 [%rd7], %f4;\n"
                          "done:\n"
                          "  ret;\n"
                          "}\n";

static int compare(const float *got, float scale) {
    for (int i = 0; i < COUNT; i++)
        if (got[i] != (float)i + scale * (float)(2 * i)) {
            printf("element %d is %g\n", i, (double)got[i]);
            return 1;
        }
    return 0;
}

static int run(CUfunction function, CUstream stream, float *host) {
    CUdeviceptr a, b, c;
    size_t bytes = COUNT * sizeof *host;
    CHECK(cuMemAlloc(&a, bytes));
    CHECK(cuMemAlloc(&b, bytes));
    CHECK(cuMemAlloc(&c, bytes));
    for (int i = 0; i < COUNT; i++) host[i] = (float)i;
    CHECK(cuMemcpyHtoD(a, host, bytes));
    for (int i = 0; i < COUNT; i++) host[i] = (float)(2 * i);
    CHECK(cuMemcpyHtoDAsync(b, host, bytes, stream));

    float scale = 1;
    unsigned int count = COUNT;
    void *params[] = {&a, &b, &c, &scale, &count};
    CUevent start, end;
    CHECK(cuEventCreate(&start, CU_EVENT_DEFAULT));
    CHECK(cuEventCreate(&end, CU_EVENT_DEFAULT));
    CHECK(cuEventRecord(start, stream));
    CHECK(cuLaunchKernel(function, (COUNT + 255) / 256, 1, 1, 256, 1, 1, 0, stream, params, NULL));
    CHECK(cuEventRecord(end, stream));
    CHECK(cuMemcpyDtoHAsync(host, c, bytes, stream));
    CHECK(cuStreamSynchronize(stream));
    float milliseconds = -1;
    CHECK(cuEventElapsedTime(&milliseconds, start, end));
    if (milliseconds < 0 || compare(host, scale)) return 1;

    CUgraph graph;
    CUgraphExec exec;
    scale = 3;
    CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CHECK(cuMemsetD8Async(c, 0, bytes, stream));
    CHECK(cuLaunchKernel(function, (COUNT + 255) / 256, 1, 1, 256, 1, 1, 0, stream, params, NULL));
    CHECK(cuStreamEndCapture(stream, &graph));
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemcpyDtoH(host, c, bytes));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    return compare(host, scale);
}

int main(void) {
    int count, major, minor;
    char name[128];
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CUfunction function;
    CUstream stream;
    CHECK(cuInit(0));
    CHECK(cuDeviceGetCount(&count));
    CHECK(cuDeviceGet(&device, count - 1));
    CHECK(cuDeviceGetName(name, sizeof name, device));
    CHECK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
    CHECK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
#if CUDA_VERSION >= 13000
    CHECK(cuCtxCreate(&context, NULL, 0, device));
#else
    CHECK(cuCtxCreate(&context, 0, device));
#endif
    CHECK(cuModuleLoadData(&module, PTX));
    CHECK(cuModuleGetFunction(&function, module, "vector_add"));
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    float *host = malloc(COUNT * sizeof *host);
    int wrong = !host || run(function, stream, host);
    free(host);
    CHECK(cuStreamDestroy(stream));
    CHECK(cuModuleUnload(module));
    CHECK(cuCtxDestroy(context));
    printf("%s, compute capability %d.%d, cuda.h %d: %s\n", name, major, minor, CUDA_VERSION,
           wrong ? "wrong" : "right");
    return wrong;
}
