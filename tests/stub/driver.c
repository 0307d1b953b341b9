/* The functions with something to answer. */
#include "state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- driver and devices ---- */
CUresult cuDriverGetVersion(int *version) {
    ENTER(cuDriverGetVersion);
    *version = stub.driver_version;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **out) {
    ENTER(cuGetErrorName);
    switch (error) {
#define CUDA_ERROR(name, number, text)                                                                       \
    case name:                                                                                               \
        *out = #name;                                                                                        \
        return CUDA_SUCCESS;
#include "driver/cuda_errors.inc"
#undef CUDA_ERROR
    }
    *out = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **out) {
    ENTER(cuGetErrorString);
    switch (error) {
#define CUDA_ERROR(name, number, text)                                                                       \
    case name:                                                                                               \
        *out = text;                                                                                         \
        return CUDA_SUCCESS;
#include "driver/cuda_errors.inc"
#undef CUDA_ERROR
    }
    *out = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

static void *find_symbol(const char *name, int version) {
    const stub_symbol *best = NULL;
    for (int i = 0; i < ID_COUNT; i++) {
        const stub_symbol *symbol = &stub_symbols[i];
        if (!strcmp(symbol->name, name) && symbol->since <= version && (!best || symbol->since > best->since))
            best = symbol;
    }
    if (!best || (stub.hidden && !strcmp(name, stub.hidden))) return NULL;
    void *out;
    memcpy(&out, &best->function, sizeof out);
    return out;
}

CUresult cuGetProcAddress_v2(const char *name, void **out, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
    ENTER(cuGetProcAddress_v2);
    *out = find_symbol(name, version);
    if (status) *status = *out ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *out || status ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetProcAddress(const char *name, void **out, int version, cuuint64_t flags) {
    ENTER(cuGetProcAddress);
    *out = find_symbol(name, version);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult cuDeviceGetCount(int *count) {
    ENTER(cuDeviceGetCount);
    *count = stub.device_count;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    ENTER(cuDeviceGet);
    if (ordinal < 0 || ordinal >= stub.device_count) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
    ENTER(cuDeviceGetName);
    snprintf(name, (size_t)size, "no-op device %d", device);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    ENTER(cuDeviceGetUuid_v2);
    memset(uuid, 0x5a, sizeof *uuid);
    uuid->bytes[15] = (char)device;
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *size, CUdevice device) {
    ENTER(cuDeviceTotalMem_v2);
    *size = (size_t)64 << 30;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    ENTER(cuDeviceGetAttribute);
    if ((unsigned)attribute >= sizeof stub.attributes / sizeof stub.attributes[0])
        return CUDA_ERROR_INVALID_VALUE;
    *value = stub.attributes[attribute];
    return CUDA_SUCCESS;
}

/* ---- contexts ---- */
typedef struct CUctx_st {
    struct CUctx_st *next; /* among the destroyed */
    int device;
    atomic_ullong id; /* 0: destroyed, or broken */
    atomic_int retained;
} CUctx_st;

static CUctx_st primary[8];
static CUresult broken; /* by a fault: as on a GPU, of no use to the whole process */
static atomic_ullong context_ids = 1;
static CUcontext destroyed; /* the next one made takes the place of the last one destroyed */
static pthread_mutex_t primary_lock = PTHREAD_MUTEX_INITIALIZER;
/* Reached without a call: what is measured with this driver should not be this driver. */
static _Thread_local CUcontext current[32];
static _Thread_local CUcontext top __attribute__((tls_model("initial-exec")));
static _Thread_local int depth;

CUcontext stub_current_context(void) {
    return top;
}

void stub_break_context(CUresult why) {
    broken = why;
    top->id = 0;
}

void stub_mend(void) {
    broken = CUDA_SUCCESS;
}

CUresult stub_context_broken(void) {
    return broken;
}

bool stub_context_lives(CUcontext context, unsigned long long id) {
    return !context || context->id == id;
}

unsigned long long stub_context_id(CUcontext context) {
    return context ? context->id : 0;
}

void stub_crash(const char *call, const char *why) {
    fprintf(stderr, "%s: %s; a real driver crashes here\n", call, why);
    abort();
}

static bool is_primary(const CUctx_st *context) {
    return context >= primary && context < primary + sizeof primary / sizeof *primary;
}

static void push(CUcontext context) {
    current[depth++] = top = context;
}

static void pop(void) {
    depth--;
    top = depth ? current[depth - 1] : NULL;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
    ENTER(cuDevicePrimaryCtxRetain);
    if (broken) return broken;
    if (device < 0 || device >= 8) return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&primary_lock);
    *out = &primary[device];
    primary[device].retained++;
    if (!primary[device].id) {
        primary[device].device = device;
        primary[device].id = context_ids++;
    }
    pthread_mutex_unlock(&primary_lock);
    stub_count(STUB_PRIMARY, 1);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER(cuDevicePrimaryCtxRelease_v2);
    pthread_mutex_lock(&primary_lock);
    bool held = primary[device].retained > 0;
    primary[device].retained -= held;
    if (!primary[device].retained) {
        primary[device].id = 0;
    }
    pthread_mutex_unlock(&primary_lock);
    stub_count(STUB_PRIMARY, -held);
    return held ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
    ENTER(cuDevicePrimaryCtxReset_v2);
    primary[device].id = 0; /* until it is retained once more; who did before still has to release it */
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active) {
    ENTER(cuDevicePrimaryCtxGetState);
    *flags = 0;
    *active = primary[device].id != 0;
    return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice device) {
    ENTER(cuCtxCreate_v2);
    pthread_mutex_lock(&primary_lock);
    CUcontext context = destroyed;
    if (context) destroyed = context->next;
    pthread_mutex_unlock(&primary_lock);
    if (!context) context = calloc(1, sizeof *context);
    if (!context) return CUDA_ERROR_OUT_OF_MEMORY;
    context->device = device;
    context->id = context_ids++;
    stub_count(STUB_CONTEXT, 1);
    push(*out = context);
    return CUDA_SUCCESS;
}

CUresult cuCtxDestroy_v2(CUcontext context) {
    ENTER(cuCtxDestroy_v2);
    if (top == context) pop();
    stub_count(STUB_CONTEXT, -1);
    context->id = 0;
    pthread_mutex_lock(&primary_lock);
    context->next = destroyed;
    destroyed = context;
    pthread_mutex_unlock(&primary_lock);
    return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
    ENTER(cuCtxPushCurrent_v2);
    if (depth == 32) return CUDA_ERROR_INVALID_VALUE;
    if (!context->id && !broken && !is_primary(context))
        stub_crash("cuCtxPushCurrent", "the context was destroyed");
    push(context);
    return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *out) {
    ENTER(cuCtxPopCurrent_v2);
    if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
    if (out) *out = top;
    pop();
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    ENTER(cuCtxSetCurrent);
    if (depth) pop();
    if (context) push(context);
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *out) {
    ENTER(cuCtxGetCurrent);
    *out = stub_current_context();
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
    ENTER(cuCtxGetDevice);
    if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
    *device = current[depth - 1]->device;
    return CUDA_SUCCESS;
}

QUICK(cuCtxGetId, (CUcontext context, unsigned long long *id), context, id) {
    context = context ? context : top;
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    *id = context->id;
    if (*id) return CUDA_SUCCESS;
    return broken ? broken : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

/* ---- modules ---- */
typedef struct CUmod_st {
    struct CUmod_st
        *next; /* those of a destroyed context stay listed, so that they are no leak of the tested */
    CUcontext context;
    unsigned long long context_id;
    pthread_mutex_t lock;
    CUfunction functions;
    size_t size;
    char image[];
} CUmod_st;

static CUmodule modules;
static pthread_mutex_t modules_lock = PTHREAD_MUTEX_INITIALIZER;

static void unlist(CUmodule module) {
    pthread_mutex_lock(&modules_lock);
    CUmodule *at = &modules;
    while (*at && *at != module) at = &(*at)->next;
    if (*at) *at = module->next;
    pthread_mutex_unlock(&modules_lock);
}

static CUresult load(CUmodule *module, const void *image) {
    size_t size = stub_image_size(image);
    CUmodule made = calloc(1, sizeof *made + size + 1);
    if (!made) return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_init(&made->lock, NULL);
    made->size = size;
    made->context = top;
    made->context_id = stub_context_id(top);
    memcpy(made->image, image, size);
    stub_count(STUB_MODULE, 1);
    pthread_mutex_lock(&modules_lock);
    made->next = modules;
    modules = made;
    pthread_mutex_unlock(&modules_lock);
    *module = made;
    return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    ENTER(cuModuleLoadData);
    return load(module, image);
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int option_count,
                            CUjit_option *options, void **option_values) {
    ENTER(cuModuleLoadDataEx);
    return load(module, image);
}

CUresult cuModuleUnload(CUmodule module) {
    ENTER(cuModuleUnload);
    if (broken) return broken;
    if (!stub_context_lives(module->context, module->context_id))
        stub_crash("cuModuleUnload", "the module went with its context");
    CUresult forbidden = stub_forbidden();
    if (forbidden) return forbidden;
    unlist(module);
    for (CUfunction next, function = module->functions; function; function = next) {
        next = function->next;
        free(function);
    }
    pthread_mutex_destroy(&module->lock);
    free(module);
    stub_count(STUB_MODULE, -1);
    return CUDA_SUCCESS;
}

static CUresult make_function(CUmodule module, const char *name, CUfunction *out) {
    CUfunction function = calloc(1, sizeof *function);
    if (!function) return CUDA_ERROR_OUT_OF_MEMORY;
    if (!stub_image_find(module->image, module->size, name, function->parameters, 512,
                         &function->parameter_count)) {
        free(function);
        return CUDA_ERROR_NOT_FOUND;
    }
    snprintf(function->name, sizeof function->name, "%s", name);
    function->module = module;
    memcpy(function->attributes, stub.function_attributes, sizeof function->attributes);
    if (stub.parameters_given) {
        memcpy(function->parameters, stub.parameters, sizeof function->parameters);
        function->parameter_count = stub.parameter_count;
    }
    function->next = module->functions;
    *out = module->functions = function;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name) {
    ENTER(cuModuleGetFunction);
    pthread_mutex_lock(&module->lock);
    CUfunction function = module->functions;
    while (function && strcmp(function->name, name)) function = function->next;
    CUresult result = function ? CUDA_SUCCESS : make_function(module, name, &function);
    pthread_mutex_unlock(&module->lock);
    *out = function;
    return result;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *size, CUmodule module, const char *name) {
    ENTER(cuModuleGetGlobal_v2);
    return CUDA_ERROR_NOT_FOUND;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    ENTER(cuFuncGetAttribute);
    if ((unsigned)attribute >= 16) return CUDA_ERROR_INVALID_VALUE;
    *value = function->attributes[attribute];
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    ENTER(cuFuncSetAttribute);
    if ((unsigned)attribute >= 16) return CUDA_ERROR_INVALID_VALUE;
    function->attributes[attribute] = value;
    return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char **name, CUfunction function) {
    ENTER(cuFuncGetName);
    *name = function->name;
    return CUDA_SUCCESS;
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction function) {
    ENTER(cuFuncGetModule);
    *module = function->module;
    return CUDA_SUCCESS;
}

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
    ENTER(cuFuncGetParamInfo);
    if (index >= function->parameter_count) return CUDA_ERROR_INVALID_VALUE;
    *offset = function->parameters[index].offset;
    if (size) *size = function->parameters[index].size;
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block_size,
                                                     size_t dynamic_shared) {
    ENTER(cuOccupancyMaxActiveBlocksPerMultiprocessor);
    *blocks = block_size > 0 ? 2048 / block_size : 0;
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction function, const CUlaunchConfig *config) {
    ENTER(cuOccupancyMaxActiveClusters);
    *clusters = 16;
    return CUDA_SUCCESS;
}

/* ---- launch ---- */
QUICK(cuLaunchKernelEx, (const CUlaunchConfig *config, CUfunction function, void **params, void **extra),
      config, function, params, extra) {
    if (__builtin_expect(stub.recording, 0)) stub_keep_launch(config, function, params, extra);
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                        unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared,
                        CUstream stream, void **params, void **extra) {
    ENTER(cuLaunchKernel);
    if (__builtin_expect(stub.recording, 0)) {
        CUlaunchConfig config = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, NULL, 0};
        stub_keep_launch(&config, function, params, extra);
    }
    return CUDA_SUCCESS;
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn fn, void *user) {
    ENTER(cuLaunchHostFunc);
    fn(user);
    return CUDA_SUCCESS;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                const cuuint64_t *shape, const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2_promotion,
                                CUtensorMapFloatOOBfill fill) {
    ENTER(cuTensorMapEncodeTiled);
    if (!top) return CUDA_ERROR_INVALID_CONTEXT;
    if (!top->id) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    /* A readable encoding of our own: what was asked for, one word each. */
    memset(map, 0, sizeof *map);
    map->opaque[0] = (cuuint64_t)(uintptr_t)address;
    map->opaque[1] = (cuuint64_t)type | (cuuint64_t)rank << 8 | (cuuint64_t)swizzle << 16 |
                     (cuuint64_t)interleave << 24 | (cuuint64_t)l2_promotion << 32 | (cuuint64_t)fill << 40;
    for (cuuint32_t i = 0; i < rank && i < 5; i++) {
        map->opaque[2 + i] = shape[i];
        map->opaque[7 + i] = box[i] | (cuuint64_t)element_strides[i] << 32;
        if (i < 4 && i + 1 < rank) map->opaque[12 + i] = strides[i];
    }
    return CUDA_SUCCESS;
}
