/* A plan: launches, copies and fills that are submitted as one CUDA graph. Entries hold what was asked for; the graph
   holds what the driver was told; a launch of the plan tells it the difference.

       plan.c         the public calls: entries made and changed
       plan_scratch.c what entries share
       plan_graph.c   entries → graph: built when the entries' number or order is new, else only what changed is set
       plan_update.c  what changed, told on the device
       plan_record.c  launches on a stream become entries */
#ifndef TR_LAUNCH_PLAN_H
#define TR_LAUNCH_PLAN_H

#include "launch/kernel.h"

typedef enum tr__entry_kind { TR__ENTRY_KERNEL, TR__ENTRY_COPY, TR__ENTRY_FILL } tr__entry_kind;

#define TR__NO_LANE UINT32_MAX

typedef struct tr__entry {
    tr__entry_kind kind;
    bool wanted;  /* as the caller has it: tr_plan_enable */
    bool enabled; /* as the driver has it */
    bool dirty;   /* in plan->dirty */
    uint32_t after_count;
    uint32_t *after;
    CUgraphNode node;
    bool linked;          /* an edge of its node is a programmatic one */
    uint64_t device_node; /* by which it is changed on the device */
    /* a kernel */
    bool overlaps;     /* may begin before the kernels ahead of it have ended */
    tr_kernel *kernel; /* retained */
    tr__instance *instance;
    tr_launch_config config; /* but for the stream */
    char *buffer;            /* packed arguments, hidden tail included */
    void **pointers;         /* to each parameter in it, as the driver counts them */
    char *spare;             /* the same, in which the next change is laid out */
    void **spare_pointers;
    uint32_t lane; /* of the plan's scratch; TR__NO_LANE: needs none, or the caller's workspace */
    /* a copy or fill */
    CUdeviceptr to, from;
    size_t bytes;
    uint8_t value;
} tr__entry;

typedef struct tr__plan_block {
    struct tr__plan_block *older;
    CUdeviceptr ptr;
    uint64_t size;
} tr__plan_block;

typedef struct tr__plan_lane {
    tr__plan_block *block;
    uint32_t last; /* the entry that uses it last */
} tr__plan_lane;

typedef struct tr__updater tr__updater;

struct tr_plan {
    tr_runner *runner; /* retained */
    tr__driver *driver;
    tr__context context; /* where it was made; it runs there */
    tr__entry *entries;
    uint32_t *dirty; /* entries whose driver's side is behind; room for all */
    uint32_t count, capacity, dirty_count, kernel_count;
    tr__plan_lane *lanes;
    uint32_t lane_count;
    CUevent launched; /* the last launch with scratch has ended */
    bool rebuilt;     /* the graph is another one than the last launch's */
    CUgraph graph;
    CUgraphExec exec;     /* NULL: to be built */
    tr__updater *updater; /* plan_update.h; NULL: changes are told by the host */
    bool head_runs;       /* the graph's first node, which changes others, is switched on */
    CUstream recording;
    bool records;
    uint32_t first_recorded;
    tr_plan *next_recording;
};

/* plan.c: a kernel entry from an argument buffer that is packed and checked. */
tr_status tr__plan_append_kernel(tr_plan *plan, const tr_kernel *kernel, tr__instance *instance,
                                 const tr_launch_config *config, const char *buffer, const uint32_t *after,
                                 size_t after_count, uint32_t *index, tr_error **error);

tr_status tr__plan_enter(const tr_plan *plan, tr__scope *scope, tr_error **error); /* its context */

/* plan_scratch.c. Where an entry's scratch comes from: the caller's workspace, or a lane of the plan. */
tr_status tr__plan_choose_lane(tr_plan *plan, tr__entry *entry, tr_error **error);
/* Room for the grid's scratch, and its addresses into the hidden tail of `buffer`. Other entries of the lane keep the
   block they were given: both are right. */
tr_status tr__plan_give_scratch(tr_plan *plan, tr__entry *entry, const uint32_t grid[3], char *buffer,
                                tr_error **error);
/* Launches of a plan with lanes follow each other. */
tr_status tr__plan_launch_in_turn(tr_plan *plan, CUstream stream, tr_error **error);
void tr__plan_free_scratch(tr_plan *plan);

/* plan_graph.c */
tr_status tr__plan_bring_up_to_date(tr_plan *plan, tr_error **error); /* the plan's context is current */
void tr__plan_drop_graph(tr_plan *plan);

static inline bool tr__entry_runs(const tr__entry *entry) {
    return entry->wanted && (entry->kind == TR__ENTRY_KERNEL
                                 ? entry->config.grid[0] && entry->config.grid[1] && entry->config.grid[2]
                                 : entry->bytes != 0);
}

/* plan_record.c: the plan that records what is launched on `stream`; NULL: none. Asked only within a capture. */
tr_plan *tr__plan_recording(CUstream stream);
void tr__plan_stop_recording(tr_plan *plan);

#endif
