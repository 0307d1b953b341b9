/* What the driver's refusals mean to the caller. */
#include "driver/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A context that a fault broke. Some drivers answer its id all the same, others call it destroyed; its handle stays. */
struct tr__broken {
    struct tr__broken *next;
    tr__context context; /* id 0: the driver does not say */
};

static const struct meaning {
    CUresult result;
    tr_status status;
    bool breaks; /* the context is of no use after it */
    const char *advice;
} meanings[] = {
    {CUDA_ERROR_INVALID_VALUE, TR_E_DRIVER, false,
     "a handle or number that was given is not one of this driver's"},
    {CUDA_ERROR_OUT_OF_MEMORY, TR_E_OUT_OF_MEMORY, false,
     "the device has no memory left; free some, or use less"},
    {CUDA_ERROR_NOT_INITIALIZED, TR_E_DRIVER, false,
     "the driver does not survive fork(); open it in the child, not before"},
    {CUDA_ERROR_DEINITIALIZED, TR_E_DRIVER, false,
     "the process is ending; launch before its exit handlers run"},
    {CUDA_ERROR_STUB_LIBRARY, TR_E_DRIVER_MISSING, false,
     "the toolkit's stub stands where the driver should; take it out of LD_LIBRARY_PATH"},
    {CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER, TR_E_UNSUPPORTED, false, "install a newer NVIDIA driver"},
    {CUDA_ERROR_DEVICE_UNAVAILABLE, TR_E_DRIVER, false, "another process holds the device in exclusive mode"},
    {CUDA_ERROR_NO_DEVICE, TR_E_DRIVER_MISSING, false, "look at nvidia-smi and CUDA_VISIBLE_DEVICES"},
    {CUDA_ERROR_INVALID_IMAGE, TR_E_PARSE, false, "the bytes are neither PTX nor a cubin, or were cut off"},
    {CUDA_ERROR_INVALID_CONTEXT, TR_E_DRIVER, false, "the current context is gone; make a live one current"},
    {CUDA_ERROR_CONTEXT_IS_DESTROYED, TR_E_DRIVER, false,
     "the current context was destroyed; make a live one current"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, TR_E_UNSUPPORTED, false,
     "the image was built for another architecture; give the PTX, or compile for this device"},
    {CUDA_ERROR_INVALID_PTX, TR_E_COMPILE, false,
     "the driver's compiler refuses the PTX; tr_error_log says why"},
    {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, TR_E_UNSUPPORTED, false,
     "the PTX is newer than the driver; install a newer driver, compile to a cubin, or lower its .version"},
    {CUDA_ERROR_JIT_COMPILER_NOT_FOUND, TR_E_COMPILER_MISSING, false,
     "the driver's PTX compiler (libnvidia-ptxjitcompiler.so.1) is not installed; install it, or compile to "
     "a cubin"},
    {CUDA_ERROR_NOT_FOUND, TR_E_SIGNATURE, false, "the image holds no kernel of this name"},
    {CUDA_ERROR_INVALID_HANDLE, TR_E_DRIVER, false,
     "a stream or event is destroyed, or belongs to a context that is not current"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, TR_E_RESOURCE, false,
     "the block needs more registers or shared memory than a multiprocessor has; compile with fewer warps or "
     "stages"},
    {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, TR_E_RESOURCE, false,
     "a cooperative grid must fit the device all at once; launch fewer CTAs"},
    {CUDA_ERROR_NOT_SUPPORTED, TR_E_UNSUPPORTED, false, "this device or driver cannot do it"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, TR_E_DRIVER, false,
     "the call is forbidden while a stream is captured"},
    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, TR_E_DRIVER, false,
     "the default stream may not be used while another stream is captured; give a stream"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, TR_E_DRIVER, false,
     "an earlier mistake ended the capture; begin anew"},
    {CUDA_ERROR_ECC_UNCORRECTABLE, TR_E_DRIVER, true, "the device's memory is defective"},
    {CUDA_ERROR_HARDWARE_STACK_ERROR, TR_E_DRIVER, true, "a kernel broke its stack"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, TR_E_DRIVER, true,
     "a kernel touched memory that is not there; run it on device \"cpu\", which names the line, or under "
     "compute-sanitizer"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, TR_E_DRIVER, true, "a kernel ran longer than this device's time limit"},
    {CUDA_ERROR_ASSERT, TR_E_DRIVER, true, "an assertion in a kernel failed"},
    {CUDA_ERROR_ILLEGAL_INSTRUCTION, TR_E_DRIVER, true, "a kernel met an instruction that this device lacks"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, TR_E_DRIVER, true,
     "a kernel touched memory at an address that is not a multiple of the access's size"},
    {CUDA_ERROR_INVALID_ADDRESS_SPACE, TR_E_DRIVER, true, "a kernel used an address of another memory"},
    {CUDA_ERROR_INVALID_PC, TR_E_DRIVER, true, "a kernel jumped to where no code is"},
    {CUDA_ERROR_LAUNCH_FAILED, TR_E_DRIVER, true,
     "a kernel failed; run it on device \"cpu\", or under compute-sanitizer, to learn where"},
};

static const struct meaning *meaning_of(CUresult result) {
    static const struct meaning other = {.status = TR_E_DRIVER,
                                         .advice = "see the CUDA Driver API's list of errors"};
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].result == result) return &meanings[i];
    return &other;
}

/* The driver's own name; ours where it does not know its own. */
static const char *name_of(const tr__driver *driver, CUresult result, const char **text) {
    static const struct {
        const char *name, *text;
        CUresult result;
    } known[] = {
#define CUDA_ERROR(name, number, text) {#name, text, name},
#include "driver/cuda_errors.inc"
#undef CUDA_ERROR
    };
    const char *name = NULL;
    *text = NULL;
    if (driver->cuGetErrorName && driver->cuGetErrorName(result, &name)) name = NULL;
    if (driver->cuGetErrorString && driver->cuGetErrorString(result, text)) *text = NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].result != result) continue;
        if (!name) name = known[i].name;
        if (!*text) *text = known[i].text;
    }
    if (!*text) *text = "unknown to this driver";
    return name ? name : "unknown error";
}

/* Notes that the current context is broken; false when that was known. Out of memory it is just told again. */
static bool first_to_tell(tr__driver *driver) {
    tr__context context = {NULL, 0};
    if (driver->cuCtxGetCurrent) { /* else it is still being opened */
        driver->cuCtxGetCurrent(&context.handle);
        context.id = tr__driver_current(driver);
    }
    pthread_mutex_lock(&driver->lock);
    struct tr__broken *known = driver->broken;
    while (known && (known->context.handle != context.handle || known->context.id != context.id))
        known = known->next;
    struct tr__broken *added = known ? NULL : malloc(sizeof *added);
    if (added) {
        *added = (struct tr__broken){driver->broken, context};
        __atomic_store_n(&driver->broken, added, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&driver->lock);
    return !known;
}

void tr__driver_forget_broken(tr__driver *driver, tr__context alive) {
    if (!__atomic_load_n(&driver->broken, __ATOMIC_RELAXED)) return;
    pthread_mutex_lock(&driver->lock);
    for (struct tr__broken **at = &driver->broken, *gone; (gone = *at);) {
        if (gone->context.handle == alive.handle && gone->context.id != alive.id) {
            *at = gone->next;
            free(gone);
        } else {
            at = &gone->next;
        }
    }
    pthread_mutex_unlock(&driver->lock);
}

void tr__broken_free(struct tr__broken *broken) {
    while (broken) {
        struct tr__broken *next = broken->next;
        free(broken);
        broken = next;
    }
}

/* The CPU device knows more than a number. */
static tr_status tell_fault(tr__driver *driver, tr_error **error) {
    char message[2048];
    if (!driver->trcpu_last_fault || driver->trcpu_last_fault(NULL, message, sizeof message)) return TR_OK;
    return tr__fail(error, TR_E_MEMORY_FAULT, "%s", message);
}

/* earlier: what failed had done nothing that could fail so. */
static tr_status tell(tr__driver *driver, CUresult result, const char *what, const char *kernel, bool earlier,
                      tr_error **error) {
    const struct meaning *meaning = meaning_of(result);
    const char *text, *name = name_of(driver, result, &text);
    tr_status status = meaning->status;
    if (meaning->breaks) {
        bool first = first_to_tell(driver) && !earlier;
        status = first ? tell_fault(driver, error) : TR_E_STICKY;
        if (first && !status) status = kernel && !driver->cpu ? TR_E_STICKY : meaning->status;
    }
    if (status == TR_E_STICKY)
        tr__fail(error, status,
                 "an earlier launch broke the context, and %s%s did nothing: %s (%d), %s: %s; %s", what,
                 kernel ? kernel : "", name, (int)result, text, meaning->advice,
                 driver->cpu || result == CUDA_ERROR_ASSERT
                     ? "destroy every user of the context and make a new runner"
                     : "the driver does no more work in this process: start another one");
    else if (status != TR_E_MEMORY_FAULT)
        tr__fail(error, status, "%s%s failed with %s (%d), %s: %s", what, kernel ? kernel : "", name,
                 (int)result, text, meaning->advice);
    tr__error_set_driver_code(error, (int32_t)result);
    return status;
}

tr_status tr__driver_fail(tr__driver *driver, CUresult result, const char *call, tr_error **error) {
    return tell(driver, result, call, NULL, false, error);
}

tr_status tr__driver_fail_entering(tr__driver *driver, CUresult result, const char *call, tr_error **error) {
    return tell(driver, result, call, NULL, true, error);
}

tr_status tr__driver_fail_launch(tr__driver *driver, CUresult result, const char *kernel, tr_error **error) {
    return tell(driver, result, "launching ", kernel, false, error);
}
