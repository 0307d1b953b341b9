/* run --plan: a plan from a JSON file. */
#ifndef CLI_PLAN_H
#define CLI_PLAN_H

#include "options.h"

typedef struct plan_options {
    const char *path, *device;
    const options *compile; /* for its kernels */
    unsigned repeat;        /* 0: once, and no time is told */
    bool profile, profile_json;
} plan_options;

/* An exit status: 1 what failed, 2 a file that says something else than it can. */
int plan_run(const plan_options *options);

#endif
