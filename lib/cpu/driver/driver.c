/* Start and end of the driver, its lock, its names. */
#include "driver/driver.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

trcpu_driver trcpu = {.lock = PTHREAD_MUTEX_INITIALIZER};
_Thread_local trcpu_thread trcpu_this_thread;

/* A child of fork has none of our threads, and the lock may be held for ever: it gets errors. */
static volatile bool forked;

static void after_fork(void) {
    forked = true;
}

__attribute__((constructor)) static void load(void) {
    pthread_atfork(NULL, NULL, after_fork);
}

/* Why cuInit failed: trcpu_last_fault tells it. */
static CUresult refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
static CUresult refuse(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(trcpu.refusal, sizeof trcpu.refusal, format, arguments);
    va_end(arguments);
    return CUDA_ERROR_INVALID_VALUE;
}

/* What the environment asks for; anything not understood is an error, since a typo would silently test less.
 */
static CUresult read_environment(int *devices) {
    const char *text = getenv("TRITON_RUNNER_CPU_DEVICES");
    char *end = NULL;
    long count = text && *text ? strtol(text, &end, 10) : 1;
    if ((end && *end) || count < 1 || count > TRCPU_MAX_DEVICES)
        return refuse("TRITON_RUNNER_CPU_DEVICES: '%s' is not a number from 1 to %d", text,
                      TRCPU_MAX_DEVICES);
    *devices = (int)count;
    trcpu.architecture = trcpu_architecture_find(getenv("TRITON_RUNNER_CPU_ARCH"));
    if (!trcpu.architecture)
        return refuse(
            "TRITON_RUNNER_CPU_ARCH: there is no device '%s'; there are sm_75, sm_80, sm_86, sm_89 and sm_90",
            getenv("TRITON_RUNNER_CPU_ARCH"));
    text = getenv("TRITON_RUNNER_CPU_COUNTERS");
    trcpu.counting = text && *text && strcmp(text, "0");
    char unknown[64] = "", names[400];
    text = getenv("TRITON_RUNNER_CPU_CHECKS");
    trcpu.checks = trcpu_checks_parse(text && *text ? text : "default", unknown, sizeof unknown);
    if (!unknown[0]) return CUDA_SUCCESS;
    trcpu_checks_list(names, sizeof names);
    return refuse(
        "TRITON_RUNNER_CPU_CHECKS: there is no check named '%s'; there are %s; a '-' before a name takes it "
        "away",
        unknown, names);
}

static CUresult initialize(void) {
    int devices = 0;
    CUresult result = read_environment(&devices);
    if (result) return result;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&trcpu.done, &attributes);
    pthread_condattr_destroy(&attributes);
    if (failed) return CUDA_ERROR_OUT_OF_MEMORY;
    result = trcpu_devices_start(devices);
    if (result) pthread_cond_destroy(&trcpu.done);
    return result;
}

CUresult cuInit(unsigned int flags) {
    if (forked) return CUDA_ERROR_NOT_INITIALIZED;
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&trcpu.lock);
    CUresult result = trcpu.initialized ? CUDA_SUCCESS : initialize();
    trcpu.initialized = result == CUDA_SUCCESS;
    return trcpu_leave(result);
}

CUresult trcpu_enter(void) {
    if (forked) return CUDA_ERROR_NOT_INITIALIZED;
    if (trcpu_this_thread.in_callback) return CUDA_ERROR_NOT_PERMITTED;
    pthread_mutex_lock(&trcpu.lock);
    return trcpu.initialized ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_NOT_INITIALIZED);
}

CUresult trcpu_leave(CUresult result) {
    trcpu_user_object *dead = trcpu_dead();
    pthread_mutex_unlock(&trcpu.lock);
    trcpu_dead_destroy(dead);
    return result;
}

CUresult trcpu_enter_context(trcpu_context **context) {
    CUresult result = trcpu_enter();
    if (result) return result;
    result = trcpu_context_find(NULL, context);
    if (!result) result = (*context)->error;
    return result ? trcpu_leave(result) : CUDA_SUCCESS;
}

CUresult trcpu_enter_stream(CUstream handle, trcpu_stream **stream) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    result = trcpu_stream_resolve(handle, context, stream);
    if (!result) result = (*stream)->context->error;
    return result ? trcpu_leave(result) : CUDA_SUCCESS;
}

unsigned long long trcpu_next_id(void) {
    return ++trcpu.last_id;
}

CUresult cuDriverGetVersion(int *version) {
    if (!version) return CUDA_ERROR_INVALID_VALUE;
    *version = TRCPU_DRIVER_VERSION;
    return CUDA_SUCCESS;
}

/* ---- names ---- */
static const struct {
    CUresult number;
    const char *name, *text;
} ERRORS[] = {
#define CUDA_ERROR(name, number, text) {name, #name, text},
#include "driver/cuda_errors.inc"
#undef CUDA_ERROR
};

static CUresult find_error(CUresult error, const char **name, const char **text) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof ERRORS[0]; i++)
        if (ERRORS[i].number == error) {
            *name = ERRORS[i].name;
            *text = ERRORS[i].text;
            return CUDA_SUCCESS;
        }
    *name = *text = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorName(CUresult error, const char **out) {
    const char *text;
    return out ? find_error(error, out, &text) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **out) {
    const char *name;
    return out ? find_error(error, &name, out) : CUDA_ERROR_INVALID_VALUE;
}

/* ---- functions by name ---- */
static const struct {
    const char *name, *symbol;
    int since;
    void (*function)(void);
} FUNCTIONS[] = {
#define CUDA_FUNCTION(name, symbol, since, params) {#name, #symbol, since, (void (*)(void))symbol},
#include "driver/cuda_symbols.inc"
};

/* The newest that a program of that version knows. The flags ask how stream 0 behaves: it is the legacy
   stream for everyone here, which only orders more than a per-thread one would. */
static CUresult find_function(const char *name, void **out, int version,
                              CUdriverProcAddressQueryResult *status) {
    int best = -1, any = -1;
    if (!name || !out) return CUDA_ERROR_INVALID_VALUE;
    for (int i = 0; i < (int)(sizeof FUNCTIONS / sizeof FUNCTIONS[0]); i++) {
        if (strcmp(FUNCTIONS[i].name, name)) continue;
        any = i;
        if (FUNCTIONS[i].since <= version && (best < 0 || FUNCTIONS[i].since > FUNCTIONS[best].since))
            best = i;
    }
    *out = NULL;
    if (best >= 0) memcpy(out, &FUNCTIONS[best].function, sizeof *out);
    if (status)
        *status = best >= 0  ? CU_GET_PROC_ADDRESS_SUCCESS
                  : any >= 0 ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                             : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return best >= 0 || status ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetProcAddress(const char *name, void **out, int version, cuuint64_t flags) {
    return find_function(name, out, version, NULL);
}

CUresult cuGetProcAddress_v2(const char *name, void **out, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
    return find_function(name, out, version, status);
}
