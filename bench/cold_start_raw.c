/* cold_start_raw LIBCUDA IMAGE: vector_add by bare driver calls, as short as it can be; started by cold_start. */
#include "cold_start.h"

#include "driver/cuda_api.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>

static void *library;

static void *find(const char *name) {
    void *found = dlsym(library, name);
    if (found) return found;
    fprintf(stderr, "%s\n", dlerror());
    exit(EXIT_FAILURE);
}

#define CALL(symbol, types, ...)                                                                             \
    do {                                                                                                     \
        CUresult(*call_) types;                                                                              \
        void *found_ = find(#symbol);                                                                        \
        memcpy(&call_, &found_, sizeof found_);                                                              \
        CUresult result_ = call_(__VA_ARGS__);                                                               \
        if (!result_) break;                                                                                 \
        fprintf(stderr, "%s: CUresult %d\n", #symbol, (int)result_);                                         \
        exit(EXIT_FAILURE);                                                                                  \
    } while (0)

static char *read_image(const char *path) {
    static char image[1 << 20]; /* ends with NULs */
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, image, sizeof image - 1);
    if (size > 0 && size < (ssize_t)sizeof image - 1) return image;
    perror(path);
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv) {
    static float x[COLD_COUNT], y[COLD_COUNT], out[COLD_COUNT];
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CUfunction function;
    CUdeviceptr dx, dy, dout, scratch = 0;
    int count = COLD_COUNT;
    if (argc != 3 || !(library = dlopen(argv[1], RTLD_NOW))) return EXIT_FAILURE;
    cold_fill(x, y);
    CALL(cuInit, (unsigned), 0);
    CALL(cuDeviceGet, (CUdevice *, int), &device, 0);
    CALL(cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice), &context, device);
    CALL(cuCtxSetCurrent, (CUcontext), context);
    CALL(cuModuleLoadData, (CUmodule *, const void *), &module, read_image(argv[2]));
    CALL(cuModuleGetFunction, (CUfunction *, CUmodule, const char *), &function, module, "vector_add");
    CALL(cuMemAlloc_v2, (CUdeviceptr *, size_t), &dx, sizeof x);
    CALL(cuMemAlloc_v2, (CUdeviceptr *, size_t), &dy, sizeof y);
    CALL(cuMemAlloc_v2, (CUdeviceptr *, size_t), &dout, sizeof out);
    CALL(cuMemcpyHtoD_v2, (CUdeviceptr, const void *, size_t), dx, x, sizeof x);
    CALL(cuMemcpyHtoD_v2, (CUdeviceptr, const void *, size_t), dy, y, sizeof y);
    void *parameters[] = {&dx, &dy, &dout, &count, &scratch, &scratch};
    CALL(cuLaunchKernel,
         (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **,
          void **),
         function, COLD_COUNT / COLD_BLOCK, 1, 1, 128, 1, 1, 0, NULL, parameters, NULL);
    CALL(cuMemcpyDtoH_v2, (void *, CUdeviceptr, size_t), out, dout, sizeof out);
    cold_tell(x, y, out);
    _exit(EXIT_SUCCESS);
}
