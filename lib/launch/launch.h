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
                               const tr_launch_config *config, bool capturing, char *buffer,
                               tr_error **error);

/* Why the driver refused it. */
tr_status tr__launch_fail(const tr_kernel *kernel, const tr__instance *instance, CUstream stream,
                          CUresult result, tr_error **error);

#endif
