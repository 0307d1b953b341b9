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
#define CUDA_REQUIRED(name, symbol, since, parameters) CUresult(*name) parameters;
#define CUDA_OPTIONAL(name, symbol, since, parameters) CUresult(*name) parameters;
#include "driver/cuda_symbols.inc"
    CUresult (*trcpu_last_fault)(CUcontext context, char *text, size_t size); /* the CPU device's own words */
    size_t (*trcpu_counters)(char *json,
                             size_t size); /* the CPU device's: what was counted so far; returns its length */
    uint32_t references;
    bool contextless; /* a hint, without the lock: the last thread looked at had no current context */
    bool cpu;         /* the CPU device */
    int version;      /* cuDriverGetVersion: 13010 */
    CUdevice device;  /* the runner's */
    void *library;    /* never closed: threads of the driver may outlive us */

    pthread_mutex_t lock; /* over what follows */
    CUcontext primary;    /* retained when first needed; NULL: not yet. Read without the lock */
    int primary_retains;  /* more than one: it was reset */
    struct tr__broken
        *broken; /* failure.c: contexts that a fault broke, as far as it was told; read without the lock */
    struct tr__left *left; /* left.c: what waits for its context to be current again; read without the lock */
} tr__driver;

/* device: as tr_runner_options.device. cpu_path: the CPU device's file. Never falls back unless it says
 * "auto". */
tr_status tr__driver_open(const char *device, const char *cpu_path, tr__driver **out, tr_error **error);
/* The runner's end: gives the primary context back. What still holds the driver keeps only its entry points.
 */
void tr__driver_close(tr__driver *driver);
tr__driver *tr__driver_retain(tr__driver *driver);
void tr__driver_release(tr__driver *driver);

/* ---- failure.c ---- */
/* The failed call, the driver's name, code and words, and what to do. A code that says that the context is
   broken is told once as what it is (from the CPU device in the fault's own words); afterwards it is
   TR_E_STICKY. So is one that a launch returns on a GPU: no launch can fail of what it has yet to do. */
tr_status tr__driver_fail(tr__driver *driver, CUresult result, const char *call, tr_error **error);
tr_status tr__driver_fail_launch(tr__driver *driver, CUresult result, const char *kernel, tr_error **error);
/* Of a call that only enters a context: what broke it was an earlier one's. */
tr_status tr__driver_fail_entering(tr__driver *driver, CUresult result, const char *call, tr_error **error);
/* A context that answers its id is none that a fault broke, though it may be at the address of one. */
void tr__driver_forget_broken(tr__driver *driver, tr__context alive);
void tr__broken_free(struct tr__broken *broken);

/* ---- context.c: the caller's current one, else the runner's primary, current between enter and leave ----
 */
typedef struct tr__scope {
    tr__context context;
    bool pushed, holds;
    CUdevice held; /* its primary context is retained */
} tr__scope;
tr_status tr__driver_enter(tr__driver *driver, tr__scope *scope, tr_error **error);
/* The same for a given context, which must be the current one or a device's primary one: of another nobody can tell
   whether it still is. False when it is neither, or is no more. */
bool tr__driver_enter_context(tr__driver *driver, tr__context context, tr__scope *scope);
void tr__driver_leave(const tr__driver *driver, tr__scope *scope);

/* The id of the current context, 0 without one. Each launch asks. Where there was none it is looked for before, since asking
   for the id of none is an error, which tools that watch the driver would report each time. */
__attribute__((cold)) bool tr__driver_has_context(tr__driver *driver);
static inline uint64_t tr__driver_current(tr__driver *driver) {
    unsigned long long id = 0; /* stays so when the call fails */
    if (__builtin_expect(__atomic_load_n(&driver->contextless, __ATOMIC_RELAXED), 0) &&
        !tr__driver_has_context(driver))
        return 0;
    driver->cuCtxGetId(NULL, &id);
    return id;
}

/* Loading and allocating are forbidden to a thread while another thread captures in the strictest mode,
   unless it says that it knows what it does. Returns what `end` wants back. */
CUstreamCaptureMode tr__driver_relax(const tr__driver *driver);
void tr__driver_relax_end(const tr__driver *driver, CUstreamCaptureMode before);

/* ---- left.c: modules, memory and graphs of a context, given back when that is current: at once, else by a later call that
   is made there. What is never given back goes with its context ---- */
typedef enum tr__belonging { TR__MODULE, TR__MEMORY, TR__EVENT, TR__GRAPH, TR__GRAPH_EXEC } tr__belonging;
void tr__driver_give_back(tr__driver *driver, tr__context context, tr__belonging kind, uint64_t handle);
void tr__driver_collect(tr__driver *driver, tr__context current); /* called by tr__driver_enter */
void tr__left_free(struct tr__left *left);

/* ---- deferred.c: where the driver must not be called (a graph's destructor), what needs it waits ---- */
typedef struct tr__deferred {
    struct tr__deferred *next;
    void (*release)(struct tr__deferred *self);
} tr__deferred;
void tr__defer(tr__deferred *item); /* from any thread, at any moment: no lock, no allocation */
void tr__settle(void);              /* releases what waits */

/* Gives `item` to the graph that `stream` is being captured into: it is deferred when the graph, and
   everything made from it, is gone; after a failure at once. */
tr_status tr__driver_give_to_graph(tr__driver *driver, CUstream stream, tr__deferred *item, tr_error **error);

#endif
