/* Between the way of every launch (launch.c) and what few need (care.c). */
#ifndef TR_LAUNCH_LAUNCH_H
#define TR_LAUNCH_LAUNCH_H

#include "launch/kernel.h"

static inline CUresult tr__launch_hand_over(const tr_kernel *kernel, const tr__instance *instance,
                                            const CUlaunchConfig *launch, char *buffer) {
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE,
                     (void *)&kernel->pack->size, CU_LAUNCH_PARAM_END};
    return kernel->driver->cuLaunchKernelEx(launch, instance->function, NULL, extra);
}

/* The launch of a kernel, with a config or in a capture that asks for more than arguments to be stored. */
tr_status tr__launch_carefully(const tr_kernel *kernel, tr__instance *instance,
                               const tr_launch_config *config, CUstreamCaptureStatus capturing, char *buffer,
                               tr_error **error);

/* What of it a plan's entry needs alike. Flags that mean nothing or contradict each other; pointers, when they are to be
   checked. */
tr_status tr__launch_check_flags(const tr_kernel *kernel, const tr_launch_config *config, const char *buffer,
                                 tr_error **error);
/* May it begin before what is ahead of it has ended? */
bool tr__launch_overlaps(const tr_kernel *kernel, const tr_launch_config *config);
/* The instance's attributes with what the caller overrides; `room` has TR__LAUNCH_ATTRIBUTES. */
void tr__launch_override(CUlaunchConfig *launch, const tr_kernel *kernel, const tr_launch_config *config,
                         CUlaunchAttribute *room);
tr_status tr__launch_check_workspace(const tr_kernel *kernel, const tr_launch_config *config,
                                     const tr__workspace *wanted, tr_error **error);
/* Writes the addresses of its parts into the hidden tail. */
void tr__launch_place_scratch(const tr_kernel *kernel, const tr__workspace *wanted, uint64_t base,
                              char *buffer);

/* Why the driver refused it. */
__attribute__((cold)) tr_status tr__launch_fail(const tr_kernel *kernel, const tr__instance *instance,
                                                CUstream stream, CUresult result, tr_error **error);

#endif
