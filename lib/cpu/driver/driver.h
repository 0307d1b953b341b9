/* The driver: what the files of this folder share. It is never unloaded (-z nodelete): its threads end with
   the contexts they serve, or with the process. One lock is over all of it; it is never held while a kernel,
   a copy or the caller's code runs.

       handle.c    handles are numbers that are looked up, so a stale one is an error and not a crash
       driver.c    start and end, the lock, cuGetProcAddress, error names
       device.c context.c module.c function.c event.c pool.c     what their names say
       allocation.c  which memory is whose            memory.c copy.c   the calls about it
       work.c      a kernel, copy, fill or host call, ready to run; queue.c and graph*.c only order works
       queue.c     streams: a queue and a thread each
       stream.c    the calls about streams            capture.c   works that go into a graph instead
       graph.c graph_node.c graph_exec.c                          graphs
       launch.c    from a launch's arguments to a work */
#ifndef TRCPU_DRIVER_DRIVER_H
#define TRCPU_DRIVER_DRIVER_H

#include "driver/exports.h"
#include "machine.h"

#include <pthread.h>
#include <stdbool.h>

enum { TRCPU_MAX_DEVICES = 8, TRCPU_DRIVER_VERSION = 13000 };

typedef struct trcpu_context trcpu_context;
typedef struct trcpu_stream trcpu_stream;
typedef struct trcpu_graph trcpu_graph;
typedef struct trcpu_node trcpu_node;
typedef struct trcpu_work trcpu_work;
typedef struct trcpu_loaded trcpu_loaded;

/* ---- handles ---- */
typedef enum trcpu_kind {
    TRCPU_CONTEXT = 1,
    TRCPU_MODULE,
    TRCPU_FUNCTION,
    TRCPU_STREAM,
    TRCPU_EVENT,
    TRCPU_GRAPH,
    TRCPU_NODE,
    TRCPU_EXEC,
    TRCPU_USER_OBJECT,
    TRCPU_POOL
} trcpu_kind;

void *trcpu_handle_new(trcpu_kind kind, void *object); /* NULL out of memory */
void *trcpu_handle_find(trcpu_kind kind, const void *handle);
void trcpu_handle_set(void *handle, void *object); /* the same handle names another object, or (NULL) none */
void trcpu_handle_delete(void *handle);

/* ---- devices ---- */
typedef struct trcpu_pool {
    CUmemoryPool handle;
    struct trcpu_device *device;
    cuuint64_t threshold, used_high;
    int reuse[4]; /* by attribute; told back, without effect */
} trcpu_pool;

typedef struct trcpu_device {
    int ordinal;
    trcpu_memory *memory;
    trcpu_context *primary; /* NULL: not active */
    CUcontext primary_handle;
    unsigned int primary_flags;
    trcpu_pool default_pool, *pool; /* pool: what cuMemAllocAsync takes */
} trcpu_device;

/* What an architecture says of itself. */
typedef struct trcpu_architecture {
    int number; /* 89 */
    int threads_per_sm, blocks_per_sm, shared_per_sm, shared_per_block, shared_reserved;
    bool cluster;
} trcpu_architecture;

/* ---- the driver ---- */
typedef struct trcpu_driver {
    pthread_mutex_t lock;
    pthread_cond_t done; /* some work is done */
    bool initialized;
    const trcpu_architecture *architecture;
    uint32_t checks;
    char refusal[640]; /* what the environment asks for and there isn't; "" */
    bool counting;
    int device_count;
    trcpu_device devices[TRCPU_MAX_DEVICES];
    unsigned long long last_id; /* of contexts, streams, captures, allocations */
    trcpu_context *contexts;
} trcpu_driver;
extern trcpu_driver trcpu;

/* The calling thread. */
typedef struct trcpu_thread {
    CUcontext stack[64]; /* of current contexts */
    int depth;
    bool in_callback; /* of a stream: it may not call the driver */
    CUstreamCaptureMode capture_mode;
    unsigned long long id;
} trcpu_thread;
extern _Thread_local trcpu_thread trcpu_this_thread;

/* Every exported function begins with one of these and ends with trcpu_leave. On failure the lock is not
 * held. */
CUresult trcpu_enter(void);                            /* needs cuInit */
CUresult trcpu_enter_context(trcpu_context **context); /* needs a current context that no fault broke */
CUresult trcpu_enter_stream(CUstream handle, trcpu_stream **stream); /* and a stream, of whatever context */
CUresult trcpu_leave(CUresult result);
unsigned long long trcpu_next_id(void);

const trcpu_architecture *trcpu_architecture_find(const char *name); /* "sm_89"; NULL: the default */
CUresult trcpu_devices_start(int count);
trcpu_device *trcpu_device_find(CUdevice device);
int trcpu_device_attribute(const trcpu_device *device, CUdevice_attribute attribute);

/* ---- contexts ---- */
struct trcpu_context {
    trcpu_context *next;
    CUcontext handle;
    trcpu_device *device;
    unsigned long long id;
    bool primary;
    int retained;
    unsigned int flags;
    CUresult error; /* what broke it: every later call says so */
    trcpu_fault fault;
    trcpu_stream *streams, *legacy;
    uint64_t last_number; /* of operations: the order in which they were given, over all streams */
    struct trcpu_event *events;
    trcpu_loaded *modules;
    size_t limits[8];
    CUfunc_cache cache;
};
/* The handle's context, or (NULL) the current one; the result says why there is none. */
CUresult trcpu_context_find(CUcontext handle, trcpu_context **out);

/* ---- modules ---- */
/* A module as the driver holds it: alive until it is unloaded and no work refers to it. */
struct trcpu_loaded {
    trcpu_loaded *next;
    trcpu_context *context; /* NULL: destroyed */
    CUmodule handle;
    trcpu_module *module;
    struct trcpu_callable *functions;
    size_t function_count;
    unsigned long references;
};
typedef struct trcpu_callable {
    CUfunction handle;
    trcpu_loaded *loaded;
    trcpu_function *function;
    const trcpu_function_info *info;
    int max_dynamic_shared, carveout;
    bool non_portable_cluster;
    CUfunc_cache cache;
} trcpu_callable;
void trcpu_loaded_release(trcpu_loaded *loaded);
void trcpu_modules_unload_all(trcpu_context *context);
trcpu_callable *trcpu_callable_find(CUfunction handle); /* also of a CUkernel */
int trcpu_shared_limit(const trcpu_function_info *info, bool opted_in);

/* ---- memory ---- */
typedef enum trcpu_allocation_kind {
    TRCPU_DEVICE_MEMORY,
    TRCPU_HOST_MEMORY,
    TRCPU_REGISTERED,
    TRCPU_MANAGED
} trcpu_allocation_kind;
typedef struct trcpu_allocation {
    uint64_t address, size;
    trcpu_allocation_kind kind;
    unsigned int flags;
    trcpu_context *context;
    const trcpu_pool *pool;
    unsigned long long id;
} trcpu_allocation;
CUresult trcpu_allocate(trcpu_context *context, trcpu_allocation_kind kind, uint64_t size, unsigned int flags,
                        trcpu_pool *pool, uint64_t *address);
CUresult trcpu_register_host(trcpu_context *context, void *host, uint64_t size, unsigned int flags);
trcpu_allocation *trcpu_allocation_around(uint64_t address); /* valid until the next allocation or release */
void trcpu_allocation_release(uint64_t base);
void trcpu_allocations_release(const trcpu_context *context);
uint64_t trcpu_pool_used(const trcpu_pool *pool);
void trcpu_pool_forget(const trcpu_pool *pool);
/* The host bytes behind a device or host address; NULL if that is device memory and not all of it is alive.
 */
void *trcpu_bytes(uint64_t address, uint64_t size);
void trcpu_bytes_wrote(uint64_t address, uint64_t size);

/* ---- works ---- */
typedef enum trcpu_work_kind {
    TRCPU_WORK_EMPTY,
    TRCPU_WORK_KERNEL,
    TRCPU_WORK_COPY,
    TRCPU_WORK_FILL,
    TRCPU_WORK_HOST,
    TRCPU_WORK_CALLBACK,
    TRCPU_WORK_FREE,
    TRCPU_WORK_GRAPH
} trcpu_work_kind;

typedef struct trcpu_kernel_work {
    trcpu_callable *callable;
    trcpu_loaded *loaded; /* a reference */
    uint32_t grid[3], block[3], cluster[3], shared;
    bool cooperative;
    int priority;
    unsigned char *parameters;
    void **pointers; /* to each parameter */
} trcpu_kernel_work;

typedef struct trcpu_copy_work {
    CUDA_MEMCPY3D shape; /* as given; what follows is what is done */
    uint64_t from, to;   /* addresses, device or host */
    size_t width, height, depth;
    size_t from_pitch, from_slice, to_pitch, to_slice;
    void *staged; /* owned copy of pageable host memory */
} trcpu_copy_work;

typedef struct trcpu_fill_work {
    CUDA_MEMSET_NODE_PARAMS params;
} trcpu_fill_work;

struct trcpu_work {
    unsigned long references;
    trcpu_work_kind kind;
    trcpu_device *device;
    CUcontext context; /* a work in a graph may outlive it, so: by handle and id */
    unsigned long long context_id;
    union {
        trcpu_kernel_work kernel;
        trcpu_copy_work copy;
        trcpu_fill_work fill;
        struct {
            CUhostFn fn;
            void *user;
        } host;
        struct {
            CUstreamCallback fn;
            CUstream stream;
            void *user;
        } callback;
        uint64_t freed;
        struct {
            trcpu_work **works; /* in an order that their dependencies allow */
            size_t count;
            struct trcpu_keep *keep;
        } graph;
    } as;
};
trcpu_work *trcpu_work_new(trcpu_work_kind kind, const trcpu_context *context); /* one reference */
bool trcpu_work_alive(const trcpu_work *work);                                  /* is its context? */
trcpu_work *trcpu_work_retain(trcpu_work *work);
void trcpu_work_release(trcpu_work *work);
/* Without the lock. `before`: what broke the context already; then only callbacks run. */
CUresult trcpu_work_run(trcpu_work *work, CUresult before, trcpu_fault *fault);

/* trcpu_execute, and what it counts is kept for trcpu_counters. */
CUresult trcpu_execute_counted(trcpu_memory *memory, const trcpu_launch *launch, uint32_t checks,
                               trcpu_fault *fault);

/* Checked against what is alive now; what the work refers to may be gone when it runs. */
CUresult trcpu_copy_make(trcpu_context *context, const CUDA_MEMCPY3D *shape, bool staged, trcpu_work **out);
CUresult trcpu_fill_make(trcpu_context *context, const CUDA_MEMSET_NODE_PARAMS *params, trcpu_work **out);
/* params and extra as cuLaunchKernel takes them; like: attributes that the config does not carry, or NULL. */
CUresult trcpu_kernel_make(trcpu_callable *callable, const CUlaunchConfig *config, void **params,
                           void **extra, const trcpu_kernel_work *like, trcpu_work **out);
/* The same launch with one attribute changed. */
CUresult trcpu_kernel_remake(const trcpu_work *work, const CUlaunchAttribute *attribute, trcpu_work **out);
CUresult trcpu_kernel_attribute(const trcpu_kernel_work *kernel, CUlaunchAttributeID id,
                                CUlaunchAttributeValue *value);

/* ---- streams ---- */
/* Something that will be done at some point of a stream. */
typedef struct trcpu_mark {
    unsigned long references;
    bool done;
    CUresult error;       /* of the context, at that point */
    uint64_t nanoseconds; /* when */
} trcpu_mark;
trcpu_mark *trcpu_mark_new(void);
trcpu_mark *trcpu_mark_retain(trcpu_mark *mark);
void trcpu_mark_release(trcpu_mark *mark);
uint64_t trcpu_now(void);

typedef struct trcpu_operation {
    struct trcpu_operation *next;
    uint64_t number;
    trcpu_work *work;         /* NULL: nothing to do */
    trcpu_mark *after, *mark; /* waits for the one, then is the other; either may be NULL */
} trcpu_operation;

struct trcpu_stream {
    trcpu_stream *next;
    CUstream handle;
    trcpu_context *context;
    unsigned long long id, thread_id; /* thread_id: of a per-thread default stream's owner */
    unsigned int flags;
    int priority;
    trcpu_operation *first, *last; /* the first is the one that runs */
    bool running, closing, started;
    pthread_t thread;
    struct finished *ending; /* where the thread says that it ended */
    pthread_cond_t wake;
    struct trcpu_capture *capture;
    trcpu_node **tail; /* while captured: what the next node depends on */
    CUgraphNode *tail_handles;
    size_t tail_count;
};
trcpu_stream *trcpu_stream_new(trcpu_context *context, unsigned int flags, int priority);
void trcpu_stream_close(trcpu_stream *stream); /* at once; what is queued is still done */
CUresult trcpu_stream_resolve(CUstream handle, trcpu_context *current, trcpu_stream **out);
/* Takes the reference to work (and after, mark), whatever the result. */
CUresult trcpu_stream_push(trcpu_stream *stream, trcpu_work *work, trcpu_mark *after, trcpu_mark *mark);
/* The same for what may be captured: then it becomes a node. */
CUresult trcpu_stream_submit(trcpu_stream *stream, trcpu_work *work);
/* These let go of the lock while they wait. The context may be gone afterwards. */
CUresult trcpu_stream_drain(trcpu_stream *stream);
CUresult trcpu_context_drain(trcpu_context *context);
CUresult trcpu_mark_await(trcpu_mark *mark); /* takes the reference */
bool trcpu_stream_idle(const trcpu_stream *stream);
/* Submits to the legacy stream and waits. */
CUresult trcpu_work_do(trcpu_context *context, trcpu_work *work);
void trcpu_streams_stop(trcpu_context *context);
void trcpu_threads_reap(void);

typedef struct trcpu_event {
    struct trcpu_event *next;
    CUevent handle;
    trcpu_context *context;
    unsigned int flags;
    trcpu_mark *mark;           /* of the last record; NULL: never */
    unsigned long long capture; /* recorded in this capture; 0: none */
    trcpu_node **nodes;
    size_t node_count;
} trcpu_event;
void trcpu_events_destroy_all(trcpu_context *context);

/* ---- graphs ---- */
/* A user object: destroyed, without the lock, when the last reference goes. */
typedef struct trcpu_user_object {
    struct trcpu_user_object *next; /* among those that wait to be destroyed */
    CUuserObject handle;
    unsigned long references;
    CUhostFn destroy;
    void *user;
    uint64_t memory; /* or an allocation instead */
} trcpu_user_object;
/* What a graph, its instantiations and their launches keep alive: references to objects, never changed. */
typedef struct trcpu_keep {
    unsigned long references;
    size_t count;
    struct {
        trcpu_user_object *object;
        unsigned long count;
    } held[];
} trcpu_keep;
trcpu_keep *trcpu_keep_retain(trcpu_keep *keep);
void trcpu_keep_release(trcpu_keep *keep);
trcpu_user_object *trcpu_dead(void); /* objects to destroy without the lock, given over to the caller */
void trcpu_dead_destroy(trcpu_user_object *object);

struct trcpu_node {
    CUgraphNode handle;
    trcpu_graph *graph;
    CUgraphNodeType type;
    trcpu_work *work;
    trcpu_graph *child;
    CUgraphNode original; /* what a clone's node was cloned from */
    trcpu_node **after;   /* what it depends on */
    size_t after_count, index;
    bool visited;
};
struct trcpu_graph {
    CUgraph handle;
    trcpu_node **nodes;
    size_t node_count, node_room;
    trcpu_keep *keep;
    bool owned;     /* by a child node */
    bool capturing; /* its nodes may not go */
};
trcpu_graph *trcpu_graph_new(void);
void trcpu_graph_delete(trcpu_graph *graph);
trcpu_graph *trcpu_graph_clone(const trcpu_graph *graph);
/* Takes the reference to work, whatever the result. */
CUresult trcpu_graph_add(trcpu_graph *graph, CUgraphNodeType type, trcpu_node *const *after, size_t count,
                         trcpu_work *work, trcpu_node **out);
CUresult trcpu_nodes_find(const CUgraphNode *handles, size_t count, const trcpu_graph *graph,
                          trcpu_node ***out);
CUresult trcpu_graph_hold_memory(trcpu_graph *graph, uint64_t address); /* on success the graph frees it */

/* The works that a node's parameters ask for: a kernel's, another's. */
CUresult trcpu_node_kernel(const CUDA_KERNEL_NODE_PARAMS_v2 *params, const trcpu_kernel_work *like,
                           trcpu_work **out);
CUresult trcpu_node_work(CUgraphNodeType type, CUcontext context, const void *params, trcpu_work **out);
CUDA_KERNEL_NODE_PARAMS_v2 trcpu_node_params(const CUDA_KERNEL_NODE_PARAMS_v1 *params);

/* ---- capture ---- */
typedef struct trcpu_capture {
    unsigned long long id;
    unsigned long references; /* streams in it */
    trcpu_graph *graph;
    trcpu_stream *origin;
    CUstreamCaptureMode mode;
    unsigned long long thread;
    bool invalid;
} trcpu_capture;
CUresult trcpu_capture_record(trcpu_stream *stream, CUgraphNodeType type, trcpu_work *work);
CUresult trcpu_capture_join(trcpu_stream *stream, trcpu_event *event);
CUresult trcpu_capture_event(trcpu_stream *stream, trcpu_event *event);
void trcpu_capture_leave(trcpu_stream *stream);
CUresult trcpu_capture_spoil(trcpu_stream *stream, CUresult result); /* makes it invalid; returns result */
/* A call that a capture in progress forbids to this thread: the result says so. */
CUresult trcpu_capture_forbids(void);
/* The same for waiting for a context, which no mode allows. */
CUresult trcpu_capture_forbids_waiting(const trcpu_context *context);
/* Work for the legacy stream, which a captured blocking stream of the context forbids. */
CUresult trcpu_capture_forbids_legacy(trcpu_context *context);

#endif
