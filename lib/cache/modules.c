#include "cache/modules.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

typedef struct key {
    tr__hash hash;
    uint64_t context;
    uint64_t twin; /* images that differ under one hash are numbered */
} key;

typedef enum state { LOADING, LOADED, FAILED } state;

struct tr__module {
    key key;
    uint32_t references; /* under the owner's lock */
    state state;
    tr__modules *owner;
    tr__blob *image;
    tr__context context;
    CUmodule handle;
    UT_hash_handle hh;
};

struct tr__modules {
    uint32_t references; /* the runner's, and one per module */
    tr__driver *driver;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a module is no longer LOADING */
    tr__module *table;
    tr__modules_count count;
};

tr_status tr__modules_create(tr__driver *driver, tr__modules **out, tr_error **error) {
    tr__modules *modules = calloc(1, sizeof *modules);
    *out = modules;
    if (!modules) return tr__fail_out_of_memory(error);
    modules->references = 1;
    modules->driver = tr__driver_retain(driver);
    pthread_mutex_init(&modules->lock, NULL);
    pthread_cond_init(&modules->changed, NULL);
    return TR_OK;
}

void tr__modules_close(tr__modules *modules) {
    if (!modules || __atomic_fetch_sub(&modules->references, 1, __ATOMIC_ACQ_REL) != 1) return;
    pthread_cond_destroy(&modules->changed);
    pthread_mutex_destroy(&modules->lock);
    tr__driver_release(modules->driver);
    free(modules);
}

tr__modules_count tr__modules_counted(tr__modules *modules) {
    pthread_mutex_lock(&modules->lock);
    tr__modules_count count = modules->count;
    count.loaded = HASH_COUNT(modules->table);
    pthread_mutex_unlock(&modules->lock);
    return count;
}

static void free_module(tr__module *module) {
    tr__blob_release(module->image);
    tr__modules_close(module->owner);
    free(module);
}

/* The module of this very image, and where it would be. Locked. */
static tr__module *find(tr__modules *modules, const tr__blob *image, uint64_t context, key *at) {
    memset(at, 0, sizeof *at); /* the key is compared as bytes */
    at->hash = image->hash;
    at->context = context;
    for (;; at->twin++) {
        tr__module *module;
        HASH_FIND(hh, modules->table, at, sizeof *at, module);
        if (!module || tr__blob_equal(module->image, image)) return module;
    }
}

static tr__module *add(tr__modules *modules, tr__blob *image, tr__context context, const key *at) {
    tr__module *module = calloc(1, sizeof *module);
    if (!module) return NULL;
    module->key = *at;
    module->references = 1;
    module->owner = modules;
    module->image = tr__blob_retain(image);
    module->context = context;
    HASH_ADD(hh, modules->table, key, sizeof module->key, module);
    __atomic_fetch_add(&modules->references, 1, __ATOMIC_RELAXED);
    if (module->hh.tbl) return module;
    free_module(module); /* uthash had no memory and left it out */
    return NULL;
}

/* A removal leaves a gap among twins, behind which a later twin is loaded a second time: that is harmless. */
static void drop(tr__modules *modules, tr__module *module) {
    HASH_DELETE(hh, modules->table, module);
}

enum { LOG_SIZE = 16 << 10 };

static tr_status load(tr__driver *driver, tr__module *module, tr_error **error) {
    char *log = calloc(2, LOG_SIZE);
    if (!log) return tr__fail_out_of_memory(error);
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                              CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)LOG_SIZE, log + LOG_SIZE, (void *)(uintptr_t)LOG_SIZE};
    CUstreamCaptureMode before = tr__driver_relax(driver);
    CUresult result = driver->cuModuleLoadDataEx(&module->handle, module->image->data, 4, options, values);
    tr__driver_relax_end(driver, before);
    tr_status status = TR_OK;
    if (result) {
        status = tr__driver_fail(driver, result, "cuModuleLoadDataEx", error);
        tr__error_set_log(error, log, strnlen(log, LOG_SIZE));
    }
    free(log);
    return status;
}

/* The one that asked first loads, outside the lock; the others wait for what comes of it. */
static tr_status load_first(tr__modules *modules, tr__module *module, tr_error **error) {
    tr_status status = load(modules->driver, module, error);
    pthread_mutex_lock(&modules->lock);
    module->state = status ? FAILED : LOADED;
    if (status)
        drop(modules, module);
    else
        modules->count.loads++;
    bool last = status && !--module->references;
    pthread_cond_broadcast(&modules->changed);
    pthread_mutex_unlock(&modules->lock);
    if (last) free_module(module);
    return status;
}

/* Locked, and again on return. False: loading failed, and this thread may try for itself. */
static bool wait_for(tr__modules *modules, tr__module *module) {
    module->references++;
    while (module->state == LOADING) pthread_cond_wait(&modules->changed, &modules->lock);
    if (module->state == LOADED) return true;
    if (!--module->references) free_module(module);
    return false;
}

tr_status tr__modules_get(tr__modules *modules, tr__blob *image, tr__context context, bool may_load,
                          const char *kernel, tr__module **out, tr_error **error) {
    key at;
    *out = NULL;
    tr__settle();
    pthread_mutex_lock(&modules->lock);
    for (;;) {
        tr__module *module = find(modules, image, context.id, &at);
        if (!module) break;
        if (!wait_for(modules, module)) continue;
        modules->count.hits++;
        pthread_mutex_unlock(&modules->lock);
        *out = module;
        return TR_OK;
    }
    tr__module *module = may_load ? add(modules, image, context, &at) : NULL;
    pthread_mutex_unlock(&modules->lock);
    if (!may_load)
        return tr__fail(error, TR_E_SEALED,
                        "the runner is sealed, and kernel '%s' is not loaded in the current context; call "
                        "tr_kernel_load in each context before tr_runner_seal",
                        kernel);
    if (!module) return tr__fail_out_of_memory(error);
    tr_status status = load_first(modules, module, error);
    if (!status) *out = module;
    return status;
}

CUmodule tr__module_handle(const tr__module *module) {
    return module->handle;
}

tr__module *tr__module_retain(tr__module *module) {
    pthread_mutex_lock(&module->owner->lock);
    module->references++;
    pthread_mutex_unlock(&module->owner->lock);
    return module;
}

void tr__module_put(tr__module *module) {
    if (!module) return;
    tr__modules *modules = module->owner;
    pthread_mutex_lock(&modules->lock);
    bool last = !--module->references;
    if (last) {
        drop(modules, module);
        modules->count.unloads++;
    }
    pthread_mutex_unlock(&modules->lock);
    if (!last) return;
    tr__driver_give_back(modules->driver, module->context, TR__MODULE, (uintptr_t)module->handle);
    free_module(module);
}
