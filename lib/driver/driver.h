/* A CUDA driver opened at run time: libcuda.so.1, or the CPU device, which is one too. */
#ifndef TR_DRIVER_DRIVER_H
#define TR_DRIVER_DRIVER_H

#include "base/error.h"
#include "driver/cuda_api.h"

#include <pthread.h>
#include <stdbool.h>

/* Contexts are told apart by id: one destroyed and made again at the same address has another. */
typedef struct tr__context {
    CUcontext handle;
    uint64_t id;
} tr__context;

/* One device of it, and every entry point by name: driver->cuMemAlloc(…). Symbols the driver lacks are NULL
   where cuda_symbols.inc calls them optional. */
typedef struct tr__driver {
#define CUDA_SYMBOL(name, need, ...) CUresult (*name)(__VA_ARGS__);
#include "driver/cuda_symbols.inc"
#undef CUDA_SYMBOL
    uint32_t references;
    bool cpu;         /* the CPU device */
    int version;      /* cuDriverGetVersion: 13010 */
    CUdevice device;  /* the runner's */
    int32_t ordinal;  /* the number it was asked for by */
    void *library;    /* never closed: driver threads may outlive us */
    void *last_fault; /* the CPU device's trcpu_last_fault; NULL: none */

    pthread_mutex_t lock;      /* over what follows */
    tr__context primary;       /* retained when first needed; id 0: not yet */
    struct tr__broken *broken; /* contexts that a fault broke, as far as it was reported */
} tr__driver;

/* device: as tr_runner_options.device. cpu_path: the CPU device's file. Never falls back unless it says
 * "auto". */
tr_status tr__driver_open(const char *device, const char *cpu_path, tr__driver **out, tr_error **error);
/* The runner's end: gives the primary context back. What still holds the driver keeps only its entry points.
 */
void tr__driver_close(tr__driver *driver);
tr__driver *tr__driver_retain(tr__driver *driver);
void tr__driver_release(tr__driver *driver);

/* The failed call's name, the driver's name, text and code, and what to do. A code that says the context is
   broken is told once as what it is (from the CPU device with the fault's own words); after that it is
   TR_E_STICKY, as is one that comes from a launch, which can't have caused it yet. */
tr_status tr__driver_fail(const tr__driver *driver, CUresult result, const char *call, tr_error **error);
tr_status tr__driver_fail_launch(const tr__driver *driver, CUresult result, const char *kernel,
                                 tr_error **error);

/* ---- contexts: the caller's current one, else the runner's primary, which is current between enter and
 * leave ---- */
typedef struct tr__scope {
    tr__context context;
    bool pushed;
} tr__scope;
tr_status tr__driver_enter(tr__driver *driver, tr__scope *scope, tr_error **error);
/* The same for a given context; false when it is no more. */
bool tr__driver_enter_context(const tr__driver *driver, tr__context context, tr__scope *scope);
void tr__driver_leave(const tr__driver *driver, tr__scope *scope);

/* The id of the current context, 0 without one. On the way of each launch. */
static inline uint64_t tr__driver_current(const tr__driver *driver) {
    if (driver->cuCtxGetId) {
        unsigned long long id;
        return driver->cuCtxGetId(NULL, &id) ? 0 : (uint64_t)id;
    }
    CUcontext handle = NULL;
    return driver->cuCtxGetCurrent(&handle) ? 0 : (uint64_t)(uintptr_t)handle;
}

/* ---- releasing later: where the driver must not be called (a graph's destructor), what needs it waits ----
 */
typedef struct tr__deferred {
    struct tr__deferred *next;
    void (*release)(struct tr__deferred *self);
} tr__deferred;
void tr__defer(tr__deferred *item); /* from any thread, at any moment; no lock, no allocation */
void tr__settle(void);              /* releases what waits; called by what may call the driver anyway */

#endif
