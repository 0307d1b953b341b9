/* Inside of the stub: its counters and the few instructions at the head of every call. */
#ifndef STUB_STATE_H
#define STUB_STATE_H

#include "stub.h"

#include <stdatomic.h>

/* Everything declared here is exported: this is a library of exports. */
#pragma GCC visibility push(default)
#define CUDA_FUNCTION(name, symbol, since, params) CUresult symbol params;
#include "driver/cuda_symbols.inc"
#pragma GCC visibility pop

enum {
#define CUDA_FUNCTION(name, symbol, since, params) ID_##symbol,
#include "driver/cuda_symbols.inc"
    ID_COUNT
};

typedef struct stub_symbol {
    const char *name, *symbol;
    int since;
    void (*function)(void);
} stub_symbol;
extern const stub_symbol stub_symbols[ID_COUNT];

typedef struct stub_state {
    atomic_ulong calls[ID_COUNT];
    atomic_bool watched; /* recording, or something is to fail: take the slow way */
    atomic_bool recording;
    atomic_long alive[STUB_KINDS];
    int device_count, driver_version;
    int attributes[160];
    int function_attributes[16];
    stub_parameter parameters[512];
    size_t parameter_count;
    bool parameters_given;
    const char *hidden;
} stub_state;
extern stub_state stub;

CUresult stub_watch(int id);

static inline bool stub_counted(int id) {
    atomic_fetch_add_explicit(&stub.calls[id], 1, memory_order_relaxed);
    return __builtin_expect(!atomic_load_explicit(&stub.watched, memory_order_relaxed), 1);
}

static inline CUresult stub_enter(int id) {
    return stub_counted(id) ? CUDA_SUCCESS : stub_watch(id);
}
#define ENTER(symbol)                                                                                        \
    do {                                                                                                     \
        CUresult entered = stub_enter(ID_##symbol);                                                          \
        if (__builtin_expect(entered, 0)) return entered;                                                    \
    } while (0)

/* The calls that each launch makes, without anything around their work when nobody watches. */
#define QUICK(symbol, parameters, ...)                                                                       \
    static inline CUresult work_##symbol parameters;                                                         \
    __attribute__((noinline)) static CUresult watched_##symbol parameters {                                  \
        CUresult entered = stub_watch(ID_##symbol);                                                          \
        return entered ? entered : work_##symbol(__VA_ARGS__);                                               \
    }                                                                                                        \
    CUresult symbol parameters {                                                                             \
        return stub_counted(ID_##symbol) ? work_##symbol(__VA_ARGS__) : watched_##symbol(__VA_ARGS__);       \
    }                                                                                                        \
    static inline CUresult work_##symbol parameters

static inline void stub_count(stub_kind kind, long by) {
    atomic_fetch_add_explicit(&stub.alive[kind], by, memory_order_relaxed);
}

/* A stream; capture.c has those that are captured in a list. */
typedef struct CUstream_st {
    struct CUstream_st *next;
    unsigned long long id;
    CUcontext context;
    CUgraph capture; /* NULL: not captured */
    CUstreamCaptureMode mode;
    unsigned long thread; /* that began it */
    CUstreamCaptureStatus status;
} CUstream_st;
extern CUstream_st stub_default_stream; /* it has an object, too */
static inline CUstream stub_stream_of(CUstream stream) {
    bool is_default = !stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD;
    return is_default ? &stub_default_stream : stream;
}
void stub_capture_drop(CUstream stream);
CUresult stub_make_graph(CUgraph *out);
unsigned long long stub_graph_id(CUgraph graph);

/* What a real driver refuses while something is captured, with the loss of the capture (driver 580, H200).
   stub_forbidden: what the thread's mode allows when it is relaxed. stub_forbidden_always: waiting for the context.
   stub_forbidden_on: what can't be asked of a stream that is captured. */
CUresult stub_forbidden(void);
CUresult stub_forbidden_always(void);
CUresult stub_forbidden_on(CUstream stream);

/* A handle of what is gone is memory of something else: a real driver crashes, or does harm. */
_Noreturn void stub_crash(const char *call, const char *why);

/* A function of an image. */
typedef struct CUfunc_st {
    struct CUfunc_st *next;
    struct CUmod_st *module;
    char name[256];
    int attributes[16];
    stub_parameter parameters[512];
    size_t parameter_count;
} CUfunc_st;

/* Reads the parameters of kernel `name` from PTX text or a cubin; false if it has no such kernel. An image
   that is neither has every kernel, without parameters. */
bool stub_image_find(const void *image, size_t size, const char *name, stub_parameter *parameters,
                     size_t room, size_t *count);
/* The size of an image: to the end of the text, or what the ELF header tells. */
size_t stub_image_size(const void *image);

CUcontext stub_current_context(void);
bool stub_context_lives(CUcontext context, unsigned long long id);
CUresult stub_context_broken(void); /* CUDA_SUCCESS: no */
void stub_mend(void);
unsigned long long stub_context_id(CUcontext context); /* 0: destroyed */

/* While recording: keeps the launch for stub_last_launch. */
void stub_keep_launch(const CUlaunchConfig *config, CUfunction function, void **params, void **extra);

#endif
