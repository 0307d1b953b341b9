/* Which context a call works in. The caller's current one stays as it was.

   A context that is not current may be gone, and a driver that is given the handle of one that is crashes. So no other is
   touched than the current one, the runner's primary one, and another device's primary one while it is retained. */
#include "driver/driver.h"

static void note(tr__driver *driver, bool contextless) {
    if (__atomic_load_n(&driver->contextless, __ATOMIC_RELAXED) != contextless)
        __atomic_store_n(&driver->contextless, contextless, __ATOMIC_RELAXED);
}

bool tr__driver_has_context(tr__driver *driver) {
    CUcontext current = NULL;
    bool has = !driver->cuCtxGetCurrent(&current) && current; /* who has none asks again, and is told */
    note(driver, !has);
    return has;
}

/* anew: it was reset under us, and comes back when it is retained once more. */
static tr_status primary(tr__driver *driver, bool anew, CUcontext *out, tr_error **error) {
    pthread_mutex_lock(&driver->lock);
    CUresult result = CUDA_SUCCESS;
    if (!driver->primary || anew) {
        result = driver->cuDevicePrimaryCtxRetain(out, driver->device);
        driver->primary_retains += !result;
        __atomic_store_n(&driver->primary, result ? driver->primary : *out, __ATOMIC_RELAXED);
    }
    *out = driver->primary;
    pthread_mutex_unlock(&driver->lock);
    return result ? tr__driver_fail_entering(driver, result, "cuDevicePrimaryCtxRetain", error) : TR_OK;
}

/* The id of the context that was entered; 0 without an error: a primary one that was reset, and can be retained again. */
static tr_status identify(tr__driver *driver, tr__scope *scope, bool again, tr_error **error) {
    unsigned long long id = 0;
    unsigned int flags;
    int active = 0;
    CUresult result = driver->cuCtxGetId(NULL, &id);
    if (result == CUDA_SUCCESS) {
        scope->context.id = id;
        tr__driver_forget_broken(driver, scope->context);
        return TR_OK;
    }
    driver->cuDevicePrimaryCtxGetState(driver->device, &flags, &active);
    if (scope->pushed && !active && !again) return TR_OK;
    tr_status status = tr__driver_fail_entering(driver, result, "cuCtxGetId", error);
    tr__driver_leave(driver, scope);
    return status;
}

static tr_status push_primary(tr__driver *driver, tr__scope *scope, tr_error **error) {
    for (bool anew = false;; anew = true) {
        tr_status status = primary(driver, anew, &scope->context.handle, error);
        if (status) return status;
        CUresult result = driver->cuCtxPushCurrent(scope->context.handle);
        if (result) return tr__driver_fail_entering(driver, result, "cuCtxPushCurrent", error);
        scope->pushed = true;
        status = identify(driver, scope, anew, error);
        if (status || scope->context.id) return status;
        tr__driver_leave(driver, scope);
    }
}

tr_status tr__driver_enter(tr__driver *driver, tr__scope *scope, tr_error **error) {
    *scope = (tr__scope){0};
    CUresult result = driver->cuCtxGetCurrent(&scope->context.handle);
    if (result) return tr__driver_fail_entering(driver, result, "cuCtxGetCurrent", error);
    note(driver, !scope->context.handle);
    tr_status status =
        scope->context.handle ? identify(driver, scope, true, error) : push_primary(driver, scope, error);
    if (!status) tr__driver_collect(driver, scope->context);
    return status;
}

/* Retains the device's primary context if that is the one, so that it can be pushed. */
static bool hold_primary(const tr__driver *driver, CUdevice device, CUcontext wanted) {
    unsigned int flags;
    int active = 0;
    CUcontext handle;
    if (driver->cuDevicePrimaryCtxGetState(device, &flags, &active) || !active) return false;
    if (driver->cuDevicePrimaryCtxRetain(&handle, device)) return false;
    if (handle == wanted) return true;
    driver->cuDevicePrimaryCtxRelease(device);
    return false;
}

/* Of whichever device's it is. */
static bool hold(const tr__driver *driver, CUcontext wanted, tr__scope *scope) {
    int count = 0;
    driver->cuDeviceGetCount(&count);
    while (scope->held < count && !hold_primary(driver, scope->held, wanted)) scope->held++;
    return scope->holds = scope->held < count;
}

/* Not noted: what was pushed here is current for a moment only. */
static bool is_pushed(const tr__driver *driver, tr__context context) {
    unsigned long long id = 0;
    return !driver->cuCtxGetId(NULL, &id) && id == context.id;
}

bool tr__driver_enter_context(tr__driver *driver, tr__context context, tr__scope *scope) {
    *scope = (tr__scope){.context = context};
    if (tr__driver_current(driver) == context.id) return true;
    bool own = context.handle == __atomic_load_n(&driver->primary, __ATOMIC_RELAXED);
    scope->pushed = (own || hold(driver, context.handle, scope)) && !driver->cuCtxPushCurrent(context.handle);
    if (scope->pushed && is_pushed(driver, context)) return true;
    tr__driver_leave(driver, scope);
    return false;
}

void tr__driver_leave(const tr__driver *driver, tr__scope *scope) {
    CUcontext popped;
    if (scope->pushed) driver->cuCtxPopCurrent(&popped);
    if (scope->holds) driver->cuDevicePrimaryCtxRelease(scope->held);
    scope->pushed = scope->holds = false;
}

CUstreamCaptureMode tr__driver_relax(const tr__driver *driver) {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    if (driver->cuThreadExchangeStreamCaptureMode) driver->cuThreadExchangeStreamCaptureMode(&mode);
    return mode;
}

void tr__driver_relax_end(const tr__driver *driver, CUstreamCaptureMode before) {
    if (driver->cuThreadExchangeStreamCaptureMode) driver->cuThreadExchangeStreamCaptureMode(&before);
}
