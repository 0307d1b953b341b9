/* Device memory for callers that have no CUDA of their own: in the current context, else the runner's. */
#include "driver/driver.h"
#include "runner.h"

/* What each of these begins with: a driver whose context is current in `scope`. */
static tr_status enter(tr_runner *runner, const char *call, tr__driver **driver, tr__scope *scope,
                       tr_error **error) {
    tr__error_clear(error);
    if (!runner) return tr__fail(error, TR_E_INVALID_ARGUMENT, "%s: runner is NULL", call);
    tr_status status = tr__runner_driver(runner, driver, error);
    return status ? status : tr__driver_enter(*driver, scope, error);
}

static tr_status leave(tr__driver *driver, tr__scope *scope, CUresult result, const char *call,
                       tr_error **error) {
    tr_status status = result ? tr__driver_fail(driver, result, call, error) : TR_OK;
    tr__driver_leave(driver, scope);
    return status;
}

tr_status tr_device_alloc(tr_runner *runner, size_t bytes, uint64_t *out, tr_error **error) {
    tr__driver *driver;
    tr__scope scope;
    CUdeviceptr ptr = 0;
    tr__error_clear(error);
    if (out) *out = 0;
    if (!out || !bytes)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_device_alloc: %s",
                        out ? "0 bytes were asked for" : "out is NULL");
    tr_status status = enter(runner, "tr_device_alloc", &driver, &scope, error);
    if (status) return status;
    status = leave(driver, &scope, driver->cuMemAlloc(&ptr, bytes), "cuMemAlloc", error);
    if (status)
        tr__error_prefix(error, "%zu bytes of device memory", bytes);
    else
        *out = ptr;
    return status;
}

tr_status tr_device_free(tr_runner *runner, uint64_t ptr, tr_error **error) {
    tr__driver *driver;
    tr__scope scope;
    tr__error_clear(error);
    if (runner && !ptr) return TR_OK;
    tr_status status = enter(runner, "tr_device_free", &driver, &scope, error);
    if (status) return status;
    status = leave(driver, &scope, driver->cuMemFree(ptr), "cuMemFree", error);
    if (status) tr__error_prefix(error, "freeing 0x%llx", (unsigned long long)ptr);
    return status;
}

tr_status tr_device_write(tr_runner *runner, uint64_t dst, const void *src, size_t bytes, tr_error **error) {
    tr__driver *driver;
    tr__scope scope;
    tr__error_clear(error);
    if (bytes && !src) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_device_write: src is NULL");
    tr_status status = enter(runner, "tr_device_write", &driver, &scope, error);
    if (status) return status;
    CUresult result = bytes ? driver->cuMemcpyHtoD(dst, src, bytes) : CUDA_SUCCESS;
    status = leave(driver, &scope, result, "cuMemcpyHtoD", error);
    if (status) tr__error_prefix(error, "writing %zu bytes to 0x%llx", bytes, (unsigned long long)dst);
    return status;
}

tr_status tr_device_read(tr_runner *runner, void *dst, uint64_t src, size_t bytes, tr_error **error) {
    tr__driver *driver;
    tr__scope scope;
    tr__error_clear(error);
    if (bytes && !dst) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_device_read: dst is NULL");
    tr_status status = enter(runner, "tr_device_read", &driver, &scope, error);
    if (status) return status;
    CUresult result = bytes ? driver->cuMemcpyDtoH(dst, src, bytes) : CUDA_SUCCESS;
    status = leave(driver, &scope, result, "cuMemcpyDtoH", error);
    if (status) tr__error_prefix(error, "reading %zu bytes from 0x%llx", bytes, (unsigned long long)src);
    return status;
}

tr_status tr_device_synchronize(tr_runner *runner, tr_error **error) {
    tr__driver *driver;
    tr__scope scope;
    tr_status status = enter(runner, "tr_device_synchronize", &driver, &scope, error);
    return status ? status : leave(driver, &scope, driver->cuCtxSynchronize(), "cuCtxSynchronize", error);
}
