#include "driver/jit.h"

#include "compilers/ptxas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_SIZE = 64 << 10 };

/* What it says is what ptxas would; without a word of its log, the driver's for the result. */
static tr_status refuse(tr__driver *driver, CUresult result, const char *call, const char *log,
                        const char *name, tr_error **error) {
    char *first = tr__ptxas_first_error(log, name);
    tr__driver_fail(driver, result, call, error); /* for its words; what failed is a compilation */
    const char *said = *log ? log : error && *error ? tr_error_message(*error) : "";
    char reason[400];
    snprintf(reason, sizeof reason, "%.*s", (int)strcspn(said, "\n"), said);
    if (first)
        tr__fail(error, TR_E_COMPILE, "%s (driver %d.%d)", first, driver->version / 1000,
                 driver->version % 1000 / 10);
    else
        tr__fail(error, TR_E_COMPILE, "the driver's compiler refused the PTX: %s", reason);
    tr__error_set_driver_code(error, (int32_t)result);
    free(first);
    return TR_E_COMPILE;
}

static tr_status link_ptx(tr__driver *driver, const tr__blob *ptx, const char *name, char *log,
                          tr__blob **out, tr_error **error) {
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                              CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, CU_JIT_LOG_VERBOSE};
    void *values[] = {log, (void *)(uintptr_t)LOG_SIZE, log + LOG_SIZE, (void *)(uintptr_t)LOG_SIZE,
                      (void *)(uintptr_t)1};
    CUlinkState state = NULL;
    void *cubin = NULL;
    size_t size = 0;
    const char *call = "cuLinkCreate";
    CUresult result = driver->cuLinkCreate(5, options, values, &state);
    if (!result) {
        call = "cuLinkAddData";
        result = driver->cuLinkAddData(state, CU_JIT_INPUT_PTX, (void *)ptx->data, ptx->size + 1, name, 0,
                                       NULL, NULL);
    }
    if (!result) {
        call = "cuLinkComplete";
        result = driver->cuLinkComplete(state, &cubin, &size);
    }
    if (!result) *out = tr__blob_create(cubin, size);
    if (state) driver->cuLinkDestroy(state);
    if (result) return refuse(driver, result, call, log, name, error);
    return *out ? TR_OK : tr__fail_out_of_memory(error);
}

static tr_status check_device(tr__driver *driver, const char *arch, tr_error **error) {
    int major = 0, minor = 0;
    if (driver->cpu || !driver->cuLinkCreate || !driver->cuLinkAddData || !driver->cuLinkComplete ||
        !driver->cuLinkDestroy)
        return tr__fail(error, TR_E_UNSUPPORTED, "this driver has no compiler that makes cubins");
    driver->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, driver->device);
    driver->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, driver->device);
    if (atoi(arch + 3) == major * 10 + minor) return TR_OK;
    return tr__fail(error, TR_E_UNSUPPORTED, "the driver compiles for its own device only, sm_%d, not for %s",
                    major * 10 + minor, arch);
}

tr_status tr__driver_assemble(tr__driver *driver, const tr__compile_request *request,
                              tr__compile_result *result, tr_error **error) {
    tr__buffer said = {0};
    tr__blob *ptx = NULL;
    tr__scope scope;
    tr_status status = check_device(driver, request->arch, error);
    if (status) return status;
    char *log = calloc(2, LOG_SIZE);
    if (!log) return tr__fail_out_of_memory(error);
    status =
        tr__ptx_readable(request->source, tr__ptx_newest((uint32_t)driver->version / 10), &said, &ptx, error);
    if (!status) status = tr__driver_enter(driver, &scope, error);
    if (!status) {
        status = link_ptx(driver, ptx, request->path ? request->path : "kernel.ptx", log,
                          &result->stages[TR_STAGE_CUBIN], error);
        tr__driver_leave(driver, &scope);
    }
    log[LOG_SIZE - 1] = log[2 * LOG_SIZE - 1] = '\0';
    tr__buffer_puts(&said, log);
    tr__buffer_puts(&said, log + LOG_SIZE);
    result->log = said.size ? tr__buffer_take(&said) : NULL;
    tr__buffer_release(&said);
    tr__blob_release(ptx);
    free(log);
    if (!status &&
        asprintf(&result->maker, "driver %d.%d", driver->version / 1000, driver->version % 1000 / 10) < 0) {
        result->maker = NULL;
        status = tr__fail_out_of_memory(error);
    }
    return status;
}
