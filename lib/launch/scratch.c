#include "launch/scratch.h"

#include <stdlib.h>

/* A stream's memory. What it outgrew stays until the end, since another thread may be about to launch with
   it; each step at least doubles, so that this is never more than what is in use. */
typedef struct block {
    struct block *older;
    CUdeviceptr ptr;
    uint64_t size;
} block;

typedef struct lane {
    struct lane *next;
    tr__context context;
    uint64_t stream;
    block *block; /* read without the lock */
} lane;

/* Memory of a captured graph: shared by its launches on one stream, which follow each other there too. */
typedef struct captured {
    tr__deferred deferred; /* first: the graph hands it back by this */
    struct captured *next;
    tr__scratches *owner;
    tr__context context;
    cuuint64_t capture;
    uint64_t stream;
    CUdeviceptr ptr;
    uint64_t size;
} captured;

enum { BUCKETS = 64, LANES_MAX = 256, SMALLEST = 64 << 10, DRIVER_ALIGNMENT = 256 };

struct tr__scratches {
    uint32_t references; /* the runner's, and one per captured */
    tr__driver *driver;
    pthread_mutex_t lock;
    lane *buckets[BUCKETS]; /* only grow; read without the lock */
    uint32_t lanes;
    captured *captures;
};

tr_status tr__scratches_create(tr__driver *driver, tr__scratches **out, tr_error **error) {
    tr__scratches *scratches = calloc(1, sizeof *scratches);
    *out = scratches;
    if (!scratches) return tr__fail_out_of_memory(error);
    scratches->references = 1;
    scratches->driver = tr__driver_retain(driver);
    pthread_mutex_init(&scratches->lock, NULL);
    return TR_OK;
}

static void release(tr__scratches *scratches) {
    if (__atomic_fetch_sub(&scratches->references, 1, __ATOMIC_ACQ_REL) != 1) return;
    pthread_mutex_destroy(&scratches->lock);
    tr__driver_release(scratches->driver);
    free(scratches);
}

void tr__scratch_free(tr__driver *driver, tr__context context, CUdeviceptr ptr) {
    tr__driver_give_back(driver, context, TR__MEMORY, ptr);
}

void tr__scratches_close(tr__scratches *scratches) {
    if (!scratches) return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (lane *lane = scratches->buckets[i], *next; lane; lane = next) {
            next = lane->next;
            for (block *block = lane->block, *older; block; block = older) {
                older = block->older;
                tr__scratch_free(scratches->driver, lane->context, block->ptr);
                free(block);
            }
            free(lane);
        }
        scratches->buckets[i] = NULL;
    }
    release(scratches);
}

tr_status tr__scratch_allocate(tr__driver *driver, uint64_t bytes, CUdeviceptr *out, tr_error **error) {
    CUstreamCaptureMode before = tr__driver_relax(driver);
    CUresult result = driver->cuMemAlloc(out, bytes);
    tr__driver_relax_end(driver, before);
    if (!result) return TR_OK;
    tr_status status = tr__driver_fail(driver, result, "cuMemAlloc", error);
    tr__error_prefix(error, "%llu bytes of scratch memory", (unsigned long long)bytes);
    return status;
}

/* Streams are told apart by id, like contexts. */
static uint64_t stream_id(const tr__driver *driver, CUstream stream) {
    unsigned long long id = 0;
    if (driver->cuStreamGetId && !driver->cuStreamGetId(stream, &id)) return id;
    return (uint64_t)(uintptr_t)stream;
}

static lane **bucket_of(tr__scratches *scratches, uint64_t context, uint64_t stream) {
    return &scratches->buckets[(context * 31 + stream * 0x9e3779b97f4a7c15u) >> 58];
}

static lane *find_lane(tr__scratches *scratches, uint64_t context, uint64_t stream) {
    lane *lane = __atomic_load_n(bucket_of(scratches, context, stream), __ATOMIC_ACQUIRE);
    while (lane && (lane->context.id != context || lane->stream != stream)) lane = lane->next;
    return lane;
}

/* Locked. */
static lane *add_lane(tr__scratches *scratches, tr__context context, uint64_t stream) {
    lane *added = calloc(1, sizeof *added), **bucket = bucket_of(scratches, context.id, stream);
    if (!added) return NULL;
    *added = (lane){*bucket, context, stream, NULL};
    __atomic_store_n(bucket, added, __ATOMIC_RELEASE);
    scratches->lanes++;
    return added;
}

/* Locked. */
static tr_status grow(tr__scratches *scratches, lane *lane, uint64_t bytes, tr_error **error) {
    uint64_t size = lane->block ? 2 * lane->block->size : SMALLEST;
    block *made = calloc(1, sizeof *made);
    if (!made) return tr__fail_out_of_memory(error);
    *made = (block){lane->block, 0, size > bytes ? size : bytes};
    tr_status status = tr__scratch_allocate(scratches->driver, made->size, &made->ptr, error);
    if (status)
        free(made);
    else
        __atomic_store_n(&lane->block, made, __ATOMIC_RELEASE);
    return status;
}

/* A lane that is too small, or none yet. Too many lanes (of streams long gone): *out stays empty. */
static tr_status lend_more(tr__scratches *scratches, tr__context context, uint64_t stream, uint64_t bytes,
                           CUdeviceptr *out, tr_error **error) {
    tr_status status = TR_OK;
    pthread_mutex_lock(&scratches->lock);
    lane *lane = find_lane(scratches, context.id, stream);
    if (!lane && scratches->lanes < LANES_MAX) {
        lane = add_lane(scratches, context, stream);
        if (!lane) status = tr__fail_out_of_memory(error);
    }
    if (lane && (!lane->block || lane->block->size < bytes)) status = grow(scratches, lane, bytes, error);
    if (lane && !status) *out = lane->block->ptr;
    pthread_mutex_unlock(&scratches->lock);
    return status;
}

static tr_status lend_once(tr__scratches *scratches, CUstream stream, uint64_t bytes, tr__lent *out,
                           tr_error **error) {
    tr__driver *driver = scratches->driver;
    if (!driver->cuMemAllocAsync || !driver->cuMemFreeAsync)
        return tr__fail(
            error, TR_E_UNSUPPORTED,
            "scratch memory for this launch takes a driver with stream-ordered allocation; give a "
            "workspace (TR_LAUNCH_WORKSPACE)");
    CUresult result = driver->cuMemAllocAsync(&out->ptr, bytes, stream);
    if (result) return tr__driver_fail(driver, result, "cuMemAllocAsync", error);
    out->temporary = true;
    return TR_OK;
}

void tr__scratches_return(tr__scratches *scratches, CUstream stream, const tr__lent *lent) {
    scratches->driver->cuMemFreeAsync(lent->ptr, stream);
}

/* ---- captures ---- */

static void graph_is_gone(tr__deferred *deferred) {
    captured *gone = (captured *)deferred;
    tr__scratches *scratches = gone->owner;
    pthread_mutex_lock(&scratches->lock);
    for (captured **at = &scratches->captures; *at; at = &(*at)->next) {
        if (*at != gone) continue;
        *at = gone->next;
        break;
    }
    pthread_mutex_unlock(&scratches->lock);
    if (gone->ptr) tr__scratch_free(scratches->driver, gone->context, gone->ptr);
    free(gone);
    release(scratches);
}

static CUdeviceptr find_captured(tr__scratches *scratches, cuuint64_t capture, uint64_t stream,
                                 uint64_t bytes) {
    CUdeviceptr ptr = 0;
    pthread_mutex_lock(&scratches->lock);
    for (captured *at = scratches->captures; at && !ptr; at = at->next)
        if (at->capture == capture && at->stream == stream && at->size >= bytes) ptr = at->ptr;
    pthread_mutex_unlock(&scratches->lock);
    return ptr;
}

static tr_status add_captured(tr__scratches *scratches, const captured *wanted, CUstream stream,
                              CUdeviceptr *out, tr_error **error) {
    captured *made = malloc(sizeof *made);
    if (!made) return tr__fail_out_of_memory(error);
    *made = *wanted;
    __atomic_fetch_add(&scratches->references, 1, __ATOMIC_RELAXED);
    tr_status status = tr__scratch_allocate(scratches->driver, made->size, &made->ptr, error);
    if (status) {
        graph_is_gone(&made->deferred);
        return status;
    }
    *out = made->ptr;
    pthread_mutex_lock(&scratches->lock);
    made->next = scratches->captures;
    scratches->captures = made;
    pthread_mutex_unlock(&scratches->lock);
    return tr__driver_give_to_graph(scratches->driver, stream, &made->deferred, error);
}

static tr_status lend_captured(tr__scratches *scratches, tr__context context, CUstream stream,
                               bool overlapping, uint64_t bytes, CUdeviceptr *out, tr_error **error) {
    CUstreamCaptureStatus status;
    captured wanted = {
        .deferred.release = graph_is_gone, .owner = scratches, .context = context, .size = bytes};
    CUresult result =
        scratches->driver->cuStreamGetCaptureInfo(stream, &status, &wanted.capture, NULL, NULL, NULL);
    if (result) return tr__driver_fail(scratches->driver, result, "cuStreamGetCaptureInfo", error);
    tr__settle();
    wanted.stream = (uintptr_t)stream; /* a stream's id can't be asked for while it is captured */
    if (overlapping)
        wanted.capture = 0; /* nobody finds it */
    else
        *out = find_captured(scratches, wanted.capture, wanted.stream, bytes);
    return *out ? TR_OK : add_captured(scratches, &wanted, stream, out, error);
}

tr_status tr__scratches_lend(tr__scratches *scratches, tr__context context, CUstream stream, bool capturing,
                             bool overlapping, uint64_t bytes, uint32_t alignment, tr__lent *out,
                             tr_error **error) {
    tr_status status = TR_OK;
    *out = (tr__lent){0};
    if (alignment > DRIVER_ALIGNMENT) bytes += alignment;
    if (capturing) {
        status = lend_captured(scratches, context, stream, overlapping, bytes, &out->ptr, error);
    } else if (!overlapping) {
        uint64_t id = stream_id(scratches->driver, stream);
        lane *lane = find_lane(scratches, context.id, id);
        block *block = lane ? __atomic_load_n(&lane->block, __ATOMIC_ACQUIRE) : NULL;
        if (block && block->size >= bytes)
            out->ptr = block->ptr;
        else
            status = lend_more(scratches, context, id, bytes, &out->ptr, error);
    }
    if (!status && !out->ptr) status = lend_once(scratches, stream, bytes, out, error);
    out->address = (out->ptr + alignment - 1) & ~(CUdeviceptr)(alignment - 1);
    return status;
}
