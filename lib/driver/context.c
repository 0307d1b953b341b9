/* Which context a call works in. The caller's current one stays as it was. */
#include "driver/driver.h"

static tr_status primary(tr__driver *driver, CUcontext *out, tr_error **error) {
    pthread_mutex_lock(&driver->lock);
    CUresult result = CUDA_SUCCESS;
    if (!driver->primary.handle)
        result = driver->cuDevicePrimaryCtxRetain(&driver->primary.handle, driver->device);
    *out = driver->primary.handle;
    pthread_mutex_unlock(&driver->lock);
    return result ? tr__driver_fail(driver, result, "cuDevicePrimaryCtxRetain", error) : TR_OK;
}

tr_status tr__driver_enter(tr__driver *driver, tr__scope *scope, tr_error **error) {
    *scope = (tr__scope){0};
    CUresult result = driver->cuCtxGetCurrent(&scope->context.handle);
    if (result) return tr__driver_fail(driver, result, "cuCtxGetCurrent", error);
    if (scope->context.handle) {
        scope->context.id = tr__driver_current(driver);
        if (scope->context.id) return TR_OK;
        return tr__driver_fail(driver, CUDA_ERROR_CONTEXT_IS_DESTROYED, "looking at the current context",
                               error);
    }
    tr_status status = primary(driver, &scope->context.handle, error);
    if (status) return status;
    result = driver->cuCtxPushCurrent(scope->context.handle);
    if (result) return tr__driver_fail(driver, result, "cuCtxPushCurrent", error);
    scope->pushed = true;
    scope->context.id = tr__driver_current(driver);
    return TR_OK;
}

bool tr__driver_enter_context(const tr__driver *driver, tr__context context, tr__scope *scope) {
    *scope = (tr__scope){.context = context};
    if (tr__driver_current(driver) == context.id) return true;
    if (driver->cuCtxPushCurrent(context.handle)) return false;
    scope->pushed = true;
    if (tr__driver_current(driver) == context.id) return true;
    tr__driver_leave(driver, scope);
    return false;
}

void tr__driver_leave(const tr__driver *driver, tr__scope *scope) {
    CUcontext popped;
    if (scope->pushed) driver->cuCtxPopCurrent(&popped);
    scope->pushed = false;
}

CUstreamCaptureMode tr__driver_relax(const tr__driver *driver) {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    if (driver->cuThreadExchangeStreamCaptureMode) driver->cuThreadExchangeStreamCaptureMode(&mode);
    return mode;
}

void tr__driver_relax_end(const tr__driver *driver, CUstreamCaptureMode before) {
    if (driver->cuThreadExchangeStreamCaptureMode) driver->cuThreadExchangeStreamCaptureMode(&before);
}
