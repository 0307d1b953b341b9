#include "driver/driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct symbol {
    const char *name;
    size_t offset; /* in tr__driver */
    int since;
    bool required;
} symbols[] = {
#define CUDA_REQUIRED(name, symbol, since, parameters) {#symbol, offsetof(tr__driver, name), since, true},
#define CUDA_OPTIONAL(name, symbol, since, parameters) {#symbol, offsetof(tr__driver, name), since, false},
#include "driver/cuda_symbols.inc"
};

/* What a driver older than 12.0 has instead of ids: the current context's address. There is one such driver in a
   process. */
static CUresult (*get_current)(CUcontext *context);
static CUresult id_by_address(CUcontext context, unsigned long long *id) {
    CUresult result = context ? CUDA_SUCCESS : get_current(&context);
    *id = (uintptr_t)context;
    return result;
}

static tr_status resolve(tr__driver *driver, const char *path, tr_error **error) {
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(driver->library, symbols[i].name);
        if (!found && symbols[i].required)
            return tr__fail(
                error, TR_E_DRIVER_MISSING,
                "the driver '%s' is too old: it lacks %s, which came with CUDA %d.%d; install a newer "
                "NVIDIA driver, or ask for device \"cpu\"",
                path, symbols[i].name, symbols[i].since / 1000, symbols[i].since % 1000 / 10);
        memcpy((char *)driver + symbols[i].offset, &found, sizeof found);
    }
    if (!driver->cuCtxGetId) {
        get_current = driver->cuCtxGetCurrent;
        driver->cuCtxGetId = id_by_address;
    }
    void *fault = dlsym(driver->library, "trcpu_last_fault");
    memcpy(&driver->trcpu_last_fault, &fault, sizeof fault);
    void *counters = dlsym(driver->library, "trcpu_counters");
    memcpy(&driver->trcpu_counters, &counters, sizeof counters);
    return TR_OK;
}

static tr_status missing(const char *path, bool cpu, tr_error **error) {
    const char *reason = dlerror();
    if (cpu)
        return tr__fail(error, TR_E_DRIVER_MISSING,
                        "the CPU device cannot be opened: %s; it belongs beside the library, or where "
                        "tr_runner_options.library_dir or TRITON_RUNNER_LIBDIR says",
                        reason ? reason : path);
    return tr__fail(
        error, TR_E_DRIVER_MISSING,
        "no CUDA driver: %s; install the NVIDIA driver (Debian: apt install nvidia-driver libcuda1), or "
        "ask for device \"cpu\", which runs kernels without a GPU",
        reason ? reason : path);
}

static tr_status start(tr__driver *driver, int ordinal, tr_error **error) {
    int count = 0;
    CUresult result = driver->cuInit(0);
    if (!result) result = driver->cuDriverGetVersion(&driver->version);
    if (!result) result = driver->cuDeviceGetCount(&count);
    if (result == CUDA_ERROR_NO_DEVICE || (!result && !count)) {
        tr__fail(error, TR_E_DRIVER_MISSING,
                 "the CUDA driver is there, but no GPU: look at nvidia-smi and CUDA_VISIBLE_DEVICES, or ask "
                 "for device "
                 "\"cpu\", which runs kernels without one");
        tr__error_set_driver_code(error, CUDA_ERROR_NO_DEVICE);
        return TR_E_DRIVER_MISSING;
    }
    char why[1024];
    if (result && driver->trcpu_last_fault && !driver->trcpu_last_fault(NULL, why, sizeof why)) {
        tr__fail(error, TR_E_INVALID_ARGUMENT, "the CPU device does not start: %s", why);
        tr__error_set_driver_code(error, result);
        return TR_E_INVALID_ARGUMENT;
    }
    if (result) return tr__driver_fail(driver, result, "starting the driver", error);
    if (ordinal >= count)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "device %d was asked for, but there %s %d", ordinal,
                        count == 1 ? "is only" : "are only", count);
    result = driver->cuDeviceGet(&driver->device, ordinal);
    return result ? tr__driver_fail(driver, result, "cuDeviceGet", error) : TR_OK;
}

static tr_status open_library(const char *path, bool cpu, int ordinal, tr__driver **out, tr_error **error) {
    tr__driver *driver = calloc(1, sizeof *driver);
    if (!driver) return tr__fail_out_of_memory(error);
    driver->references = 1;
    driver->cpu = cpu;
    pthread_mutex_init(&driver->lock, NULL);
    driver->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    tr_status status = driver->library ? resolve(driver, path, error) : missing(path, cpu, error);
    if (!status) status = start(driver, ordinal, error);
    if (status)
        tr__driver_release(driver);
    else
        *out = driver;
    return status;
}

/* "cuda", "cuda:1", "cpu", "cpu:1", "auto" */
static tr_status parse_device(const char *device, const char *kind, int *ordinal, tr_error **error) {
    size_t length = strlen(kind);
    *ordinal = 0;
    if (!device[length]) return TR_OK;
    char *end;
    errno = 0;
    long number = strtol(device + length + 1, &end, 10);
    if (errno || end == device + length + 1 || *end || number < 0 || number > 1023 ||
        device[length + 1] == '+')
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "device \"%s\": what follows \"%s:\" is no device number", device, kind);
    *ordinal = (int)number;
    return TR_OK;
}

static bool is_kind(const char *device, const char *kind) {
    size_t length = strlen(kind);
    return !strncmp(device, kind, length) && (!device[length] || device[length] == ':');
}

tr_status tr__driver_open(const char *device, const char *cpu_path, tr__driver **out, tr_error **error) {
    const char *libcuda = getenv("TRITON_RUNNER_LIBCUDA");
    if (!libcuda || !*libcuda) libcuda = "libcuda.so.1";
    if (!device) device = "cuda";
    int ordinal;
    *out = NULL;
    if (!strcmp(device, "auto")) {
        tr_status status = open_library(libcuda, false, 0, out, NULL);
        return status ? open_library(cpu_path, true, 0, out, error) : TR_OK;
    }
    bool cpu = is_kind(device, "cpu");
    if (!cpu && !is_kind(device, "cuda"))
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "device \"%s\" is none of \"cuda\", \"cuda:N\", \"cpu\", \"auto\"", device);
    tr_status status = parse_device(device, cpu ? "cpu" : "cuda", &ordinal, error);
    return status ? status : open_library(cpu ? cpu_path : libcuda, cpu, ordinal, out, error);
}

tr__driver *tr__driver_retain(tr__driver *driver) {
    __atomic_fetch_add(&driver->references, 1, __ATOMIC_RELAXED);
    return driver;
}

void tr__driver_release(tr__driver *driver) {
    if (!driver || __atomic_fetch_sub(&driver->references, 1, __ATOMIC_ACQ_REL) != 1) return;
    tr__broken_free(driver->broken);
    tr__left_free(driver->left);
    pthread_mutex_destroy(&driver->lock);
    free(driver);
}

void tr__driver_close(tr__driver *driver) {
    if (!driver) return;
    pthread_mutex_lock(&driver->lock);
    int retains = driver->primary_retains;
    driver->primary = NULL;
    driver->primary_retains = 0;
    pthread_mutex_unlock(&driver->lock);
    while (retains-- > 0) driver->cuDevicePrimaryCtxRelease(driver->device);
    tr__driver_release(driver);
}
