/* Does every kind of parameter arrive in the kernel as it was passed, for each Triton?

       parameters.c  compiles the kernels with each Triton, saves them, loads and runs what is saved
       cases.c       what is compiled, what is passed, what must come back */
#ifndef PARAMETERS_H
#define PARAMETERS_H

#include "triton_runner.h"

#include <stdbool.h>
#include <stddef.h>

/* A kernel that is being tried; the first thing that goes wrong is kept. */
typedef struct trial {
    tr_runner *runner;
    tr_kernel *kernel;
    int version; /* 304: Triton 3.4 */
    int arch;    /* 90 */
    bool failed;
} trial;

typedef struct parameters_case {
    const char *name, *kernel, *signature;
    const char *options; /* of the compiler; NULL: none */
    int since, until;    /* Tritons that can express it: 304 to 309 */
    int arch;            /* the least one */
    void (*run)(trial *trial);
} parameters_case;
extern const parameters_case parameters_cases[]; /* ends with name NULL */

/* Says what is wrong, and ends nothing: what follows shows whether more is. */
__attribute__((format(printf, 2, 3))) void complain(trial *trial, const char *format, ...);

#endif
