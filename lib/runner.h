/* What every object of one engine shares. Everything in it is made when first needed. */
#ifndef TR_RUNNER_H
#define TR_RUNNER_H

#include "base/buffer.h"
#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>

typedef struct tr__driver
    tr__driver; /* driver/driver.h: libcuda.so.1 or the CPU device, its symbols, its device */
typedef struct tr__modules tr__modules; /* cache/modules.h: CUmodules by content hash and context */
typedef struct tr__scratches
    tr__scratches; /* launch/scratch.h: scratch memory of kernels, per context and stream */
typedef struct tr__artifacts tr__artifacts; /* cache/artifacts.h: compile results, in memory and on disk */
typedef struct tr__tritons tr__tritons; /* compilers/triton.h: Triton installations and their fork servers */
typedef struct tr__native tr__native;   /* compilers/native.h: the helper process with LLVM and nvJitLink */

enum {
    TR__PART_DRIVER,
    TR__PART_MODULES,
    TR__PART_SCRATCHES,
    TR__PART_ARTIFACTS,
    TR__PART_TRITONS,
    TR__PART_NATIVE,
    TR__PARTS
};

struct tr_runner {
    uint32_t references;
    uint32_t sealed; /* read with __atomic loads */
    /* Counted with __atomic adds: graphs made from plans; launches of plans whose changes were told on the device. */
    uint64_t plan_builds, plan_updates;
    char *device, *triton, *cache_dir, *library_dir;
    void (*log)(void *user, int32_t level, const char *message);
    void *log_user;

    pthread_mutex_t lock;   /* over the making of what follows; each is thread-safe in itself */
    void *parts[TR__PARTS]; /* NULL: not needed so far; read with __atomic loads */

    uint64_t compiled, compile_failures; /* counted with __atomic operations */

    pthread_mutex_t tools_lock;
    tr__buffer tools; /* what compilers were found, in words (job_tools.c) */
};

tr_runner *tr__runner_retain(tr_runner *runner);
void tr__runner_release(tr_runner *runner);
bool tr__runner_sealed(const tr_runner *runner);

/* Each makes its part on the first call; later calls give the same pointer. What could not be made is tried again by
   the next call: what was missing may be there then. */
tr_status tr__runner_driver(tr_runner *runner, tr__driver **out, tr_error **error);
tr_status tr__runner_modules(tr_runner *runner, tr__modules **out, tr_error **error);
tr_status tr__runner_scratches(tr_runner *runner, tr__scratches **out, tr_error **error);
tr_status tr__runner_artifacts(tr_runner *runner, tr__artifacts **out, tr_error **error);
tr_status tr__runner_tritons(tr_runner *runner, tr__tritons **out, tr_error **error);
tr_status tr__runner_native(tr_runner *runner, tr__native **out, tr_error **error);

/* 0 debug, 1 info, 2 warning, 3 error. Without a log function nothing happens. */
__attribute__((format(printf, 3, 4))) void tr__runner_log(const tr_runner *runner, int32_t level,
                                                          const char *format, ...);

/* Where plugin, helper, worker and CPU device lie: the option, TRITON_RUNNER_LIBDIR, the folder beside the library
   (lib/triton_runner/ when installed, the build folder when not). free() the result; NULL out of memory. */
char *tr__runner_find(const tr_runner *runner, const char *file);

#endif
