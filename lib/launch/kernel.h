/* A loaded kernel: what is the same everywhere, and what it is in each context. */
#ifndef TR_LAUNCH_KERNEL_H
#define TR_LAUNCH_KERNEL_H

#include "cache/modules.h"
#include "launch/pack.h"
#include "launch/scratch.h"
#include "program.h"

enum { TR__LAUNCH_ATTRIBUTES = 8 };

/* The kernel in one context. Made once, never changed, freed with the kernel. */
typedef struct tr__instance {
    tr__context context;
    struct tr__instance *next;
    CUfunction function;
    CUlaunchConfig launch;      /* but for grid and stream */
    uint64_t cooperative_limit; /* CTAs that fit the device at once */
    uint32_t static_shared;
    int architecture; /* of the device: 90 */
    tr__module *module;
    cuuint64_t captured; /* the last capture whose graph was given the module */
    CUlaunchAttribute attributes[TR__LAUNCH_ATTRIBUTES];
} tr__instance;

struct tr_kernel {
    /* What each launch reads. */
    size_t count; /* of arguments; SIZE_MAX: too large for the quick way */
    const tr__pack *pack;
    tr__driver *driver;
    tr__instance *instances; /* at least one; only grows; read without the lock */
    uint32_t grid_limit[3];  /* cells */
    uint32_t careful; /* launching takes more than storing arguments: clusters, scratch, a cooperative grid */

    uint32_t spread[3]; /* CTAs per cell of the caller's grid */
    uint32_t references;
    const tr__record *record;
    tr__record *own_record; /* where the program's lacked something the driver knows; else NULL */
    tr_program *program;    /* retained: what was loaded */
    tr__modules *modules;
    tr__scratches *scratches;
    pthread_mutex_t lock; /* over the making of instances */
};

enum { TR__PACKED_USUAL = 2048 }; /* bytes of arguments that nearly every kernel keeps under */

/* The instance of the context with this id; NULL: not loaded there. */
static inline tr__instance *tr__kernel_find(const tr_kernel *kernel, uint64_t context) {
    tr__instance *instance = __atomic_load_n(&kernel->instances, __ATOMIC_ACQUIRE);
    do {
        if (__builtin_expect(instance->context.id == context, 1)) return instance;
    } while ((instance = instance->next));
    return NULL;
}

/* The same, loaded if need be; `context` is current. */
tr_status tr__kernel_instance(const tr_kernel *kernel, tr__context context, tr__instance **out,
                              tr_error **error);

tr_kernel *tr__kernel_retain(const tr_kernel *kernel);

/* launch.c: what a launch and a plan's entry check alike. An empty grid is fine. */
tr_status tr__kernel_check_grid(const tr_kernel *kernel, const tr__instance *instance, const uint32_t grid[3],
                                tr_error **error);
/* A config of another size, or none: what is known of it, with defaults for the rest. */
tr_status tr__launch_read_config(const tr_launch_config *config, tr_launch_config *out, tr_error **error);

/* instance.c */
tr_status tr__instance_create(const tr_kernel *kernel, tr__context context, tr__instance **out,
                              tr_error **error);
void tr__instance_destroy(tr__instance *instance);

/* workspace.c: bytes of scratch for a grid, and where in it each hidden parameter's part begins. */
typedef struct tr__workspace {
    uint64_t bytes;
    uint32_t alignment;
    uint64_t offset[TR__HIDDEN_MAX];
    bool used[TR__HIDDEN_MAX];
} tr__workspace;
tr_status tr__kernel_scratch(const tr_kernel *kernel, const uint32_t grid[3], tr__workspace *out,
                             tr_error **error);

#endif
