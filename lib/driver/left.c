/* What belongs to a context and was to be given back while another one was current. */
#include "driver/driver.h"

#include <stdlib.h>

struct tr__left {
    struct tr__left *next;
    tr__context context;
    tr__belonging kind;
    uint64_t handle;
};

/* Its context is current. Freeing memory waits for what runs with it. */
static void give_back(const tr__driver *driver, tr__belonging kind, uint64_t handle) {
    void *pointer = (void *)(uintptr_t)handle;
    CUstreamCaptureMode before = tr__driver_relax(driver);
    switch (kind) {
    case TR__MODULE: driver->cuModuleUnload(pointer); break;
    case TR__MEMORY: driver->cuMemFree(handle); break;
    case TR__EVENT: driver->cuEventDestroy(pointer); break;
    case TR__GRAPH: driver->cuGraphDestroy(pointer); break;
    case TR__GRAPH_EXEC: driver->cuGraphExecDestroy(pointer); break;
    }
    tr__driver_relax_end(driver, before);
}

void tr__driver_give_back(tr__driver *driver, tr__context context, tr__belonging kind, uint64_t handle) {
    tr__scope scope;
    if (tr__driver_enter_context(driver, context, &scope)) {
        give_back(driver, kind, handle);
        tr__driver_leave(driver, &scope);
        return;
    }
    struct tr__left *left = malloc(sizeof *left);
    if (!left) return; /* it goes with its context */
    pthread_mutex_lock(&driver->lock);
    *left = (struct tr__left){driver->left, context, kind, handle};
    __atomic_store_n(&driver->left, left, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&driver->lock);
}

/* Takes out what belongs to the current context, and what belonged to an earlier one at its address, which is gone. */
static struct tr__left *take(tr__driver *driver, tr__context current) {
    struct tr__left *taken = NULL, *kept = NULL;
    pthread_mutex_lock(&driver->lock);
    for (struct tr__left *at = driver->left, *next; at; at = next) {
        struct tr__left **to = at->context.handle == current.handle ? &taken : &kept;
        next = at->next;
        at->next = *to;
        *to = at;
    }
    __atomic_store_n(&driver->left, kept, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&driver->lock);
    return taken;
}

void tr__driver_collect(tr__driver *driver, tr__context current) {
    if (!__atomic_load_n(&driver->left, __ATOMIC_RELAXED)) return;
    struct tr__left *taken = take(driver, current);
    for (struct tr__left *at = taken; at; at = at->next)
        if (at->context.id == current.id) give_back(driver, at->kind, at->handle);
    tr__left_free(taken);
}

void tr__left_free(struct tr__left *left) {
    while (left) {
        struct tr__left *next = left->next;
        free(left);
        left = next;
    }
}
