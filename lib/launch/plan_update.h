/* Changes told on the device. A graph's first node is a kernel of ours that reads, from memory of the host, what changed,
   and changes the kernel nodes behind it by CUDA's device runtime: for the CPU that is a twentieth of what
   cuGraphExecKernelNodeSetParams costs. It needs libcudadevrt.a, which the CUDA toolkit and NVIDIA's Python packages bring;
   without it nothing else changes but the time. */
#ifndef TR_LAUNCH_PLAN_UPDATE_H
#define TR_LAUNCH_PLAN_UPDATE_H

#include "launch/plan.h"

enum { TR__UPDATER_WORTHWHILE = 8 }; /* kernels; fewer are told one by one */

/* plan_update_kernel.c: PTX with the architecture's number for %d; and the kernel "tell" (page, stride, count, ticket) for an
   architecture; NULL: not to be had. Lives on. */
extern const char *const tr__updater_source;
const tr__blob *tr__updater_image(const tr_plan *plan, int architecture);

/* In the plan's context, whichever is current. Leaves plan->updater NULL where it can't be had; after the runner is sealed
   only what was linked before is taken. */
void tr__updater_create(tr_plan *plan);
/* Waits for the device when launches that it has told may still run. */
void tr__updater_destroy(tr_plan *plan);

/* While the graph is built, the context being current: the first node, which the roots come after; then each kernel node. */
CUresult tr__updater_add_head(tr_plan *plan, CUgraph graph, CUgraphNode *head);
CUresult tr__updater_adopt(tr_plan *plan, tr__entry *entry);
CUresult tr__updater_rest(tr_plan *plan, CUgraphExec exec); /* nothing to tell in its first launch */

/* An earlier launch could not be changed as it was told. */
bool tr__updater_refused(const tr__updater *updater);

/* Is the entry changed on the device? Copies, fills and what was not adopted are changed by the host. */
static inline bool tr__updater_tells(const tr_plan *plan, const tr__entry *entry) {
    return plan->updater && entry->kind == TR__ENTRY_KERNEL && entry->device_node;
}

/* All of plan->dirty that are. False: not possible with this graph. */
bool tr__updater_tell(tr_plan *plan);

#endif
