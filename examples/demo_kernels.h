/* The demo's five kernels: how each is called, and how wrong its result is against double precision. */
#ifndef DEMO_KERNELS_H
#define DEMO_KERNELS_H

#include "example.h"

typedef struct demo_kernel {
    const char *name, *signature; /* the signature its kept stages were compiled for */
    double tolerance;             /* largest |result - reference| / max(1, |reference|) */
    tr_status (*run)(tr_runner *runner, const tr_kernel *kernel, double *largest, tr_error **error);
} demo_kernel;

extern const demo_kernel demo_kernels[]; /* ends with a NULL name */

#endif
