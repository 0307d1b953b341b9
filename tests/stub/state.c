#include "state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

stub_state stub;

const stub_symbol stub_symbols[ID_COUNT] = {
#define CUDA_FUNCTION(name, symbol, since, params) {#name, #symbol, since, (void (*)(void))symbol},
#include "driver/cuda_symbols.inc"
};

/* What is watched, under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const char *name; /* NULL: any */
    unsigned long left;
    CUresult result;
    bool forever, happened;
    char *text;
    size_t text_size, text_room;
} watch;

static void write_name(const char *name) {
    size_t length = strlen(name);
    if (watch.text_size + length + 2 > watch.text_room) {
        size_t room = watch.text_room * 2 + length + 256;
        char *text = realloc(watch.text, room);
        if (!text) return;
        watch.text = text, watch.text_room = room;
    }
    if (watch.text_size) watch.text[watch.text_size++] = ' ';
    memcpy(watch.text + watch.text_size, name, length + 1);
    watch.text_size += length;
}

CUresult stub_watch(int id) {
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    if (stub.recording) write_name(stub_symbols[id].name);
    if (watch.result && (!watch.name || !strcmp(watch.name, stub_symbols[id].name))) {
        if (watch.left) watch.left--;
        if (!watch.left && (watch.forever || !watch.happened)) {
            watch.happened = true;
            result = watch.result;
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void stub_fail(const char *name, unsigned long nth, CUresult result, bool forever) {
    pthread_mutex_lock(&lock);
    watch.name = name, watch.left = nth, watch.result = result, watch.forever = forever;
    watch.happened = false;
    stub.watched = stub.recording || result;
    pthread_mutex_unlock(&lock);
}

bool stub_failed(void) {
    pthread_mutex_lock(&lock);
    bool happened = watch.happened;
    pthread_mutex_unlock(&lock);
    return happened;
}

void stub_record(bool on) {
    pthread_mutex_lock(&lock);
    stub.recording = on;
    stub.watched = on || watch.result;
    if (on) watch.text_size = 0;
    pthread_mutex_unlock(&lock);
}

const char *stub_recorded(void) {
    return watch.text_size ? watch.text : "";
}

unsigned long stub_calls(const char *name) {
    unsigned long sum = 0;
    for (int i = 0; i < ID_COUNT; i++)
        if (!name || !strcmp(name, stub_symbols[i].name)) sum += stub.calls[i];
    return sum;
}

long stub_alive(stub_kind kind) {
    if (kind != STUB_KINDS) return stub.alive[kind];
    long sum = 0;
    for (int i = 0; i < STUB_KINDS; i++) sum += stub.alive[i];
    return sum;
}

void stub_set_device_count(int count) {
    stub.device_count = count;
}

void stub_set_driver_version(int version) {
    stub.driver_version = version;
}

void stub_set_attribute(CUdevice_attribute attribute, int value) {
    stub.attributes[attribute] = value;
}

void stub_set_compute_capability(int major, int minor) {
    stub_set_attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, major);
    stub_set_attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, minor);
}

void stub_set_function_attribute(CUfunction_attribute attribute, int value) {
    stub.function_attributes[attribute] = value;
}

void stub_set_parameters(const stub_parameter *parameters, size_t count) {
    stub.parameters_given = parameters;
    stub.parameter_count = 0;
    for (size_t i = 0; parameters && i < count && i < 512; i++)
        stub.parameters[stub.parameter_count++] = parameters[i];
}

void stub_hide(const char *name) {
    stub.hidden = name;
}

static const struct {
    CUdevice_attribute attribute;
    int value;
} DEVICE[] = {
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 2147483647},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
    {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
    {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132},
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048},
    {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 233472},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536},
    {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 232448},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 32},
    {CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, 1024},
    {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 1},
    {CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED, 1},
};

void stub_reset(void) {
    stub_fail(NULL, 0, CUDA_SUCCESS, false);
    stub_mend();
    stub_record(false);
    stub_set_parameters(NULL, 0);
    stub_hide(NULL);
    for (int i = 0; i < ID_COUNT; i++) stub.calls[i] = 0;
    for (int i = 0; i < STUB_KINDS; i++) stub.alive[i] = 0;
    stub.device_count = 2;
    stub.driver_version = 13000;
    memset(stub.attributes, 0, sizeof stub.attributes);
    for (size_t i = 0; i < sizeof DEVICE / sizeof DEVICE[0]; i++)
        stub.attributes[DEVICE[i].attribute] = DEVICE[i].value;
    memset(stub.function_attributes, 0, sizeof stub.function_attributes);
    stub.function_attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = 1024;
    stub.function_attributes[CU_FUNC_ATTRIBUTE_NUM_REGS] = 32;
    stub.function_attributes[CU_FUNC_ATTRIBUTE_PTX_VERSION] = 90;
    stub.function_attributes[CU_FUNC_ATTRIBUTE_BINARY_VERSION] = 90;
}

__attribute__((constructor)) static void start(void) {
    stub_reset();
}

/* ---- launches ---- */
static stub_launch last;

const stub_launch *stub_last_launch(void) {
    return &last;
}

static void keep_parameters(CUfunction function, void **params, void **extra) {
    for (size_t i = 0; params && function && i < function->parameter_count; i++) {
        stub_parameter at = function->parameters[i];
        if (at.offset + at.size <= sizeof last.buffer) {
            memcpy(last.buffer + at.offset, params[i], at.size);
            last.buffer_size = at.offset + at.size;
        }
    }
    const void *from = NULL;
    for (size_t i = 0; extra && extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER) from = extra[i + 1];
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE) last.buffer_size = *(size_t *)extra[i + 1];
    }
    if (from && last.buffer_size <= sizeof last.buffer) memcpy(last.buffer, from, last.buffer_size);
}

void stub_keep_launch(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
    pthread_mutex_lock(&lock);
    memset(&last, 0, sizeof last);
    last.function = function;
    last.name = function ? function->name : NULL;
    uint32_t grid[] = {config->gridDimX, config->gridDimY, config->gridDimZ};
    uint32_t block[] = {config->blockDimX, config->blockDimY, config->blockDimZ};
    memcpy(last.grid, grid, sizeof grid);
    memcpy(last.block, block, sizeof block);
    last.shared = config->sharedMemBytes;
    last.stream = config->hStream;
    last.context = stub_current_context();
    last.attribute_count = config->numAttrs < 16 ? config->numAttrs : 16;
    if (last.attribute_count)
        memcpy(last.attributes, config->attrs, last.attribute_count * sizeof *config->attrs);
    keep_parameters(function, params, extra);
    pthread_mutex_unlock(&lock);
}
