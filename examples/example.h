/* What every example needs: give up with the library's own words, and arrays on the device. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include "larger.h"

#include <triton_runner.h>

#include <stdio.h>
#include <stdlib.h>

/* The error is read after the call that is its other argument, so it comes by its address. */
static inline void check(tr_status status, tr_error *const *error) {
    if (!status) return;
    fprintf(stderr, "%s: %s\n%s", tr_status_name(status), tr_error_message(*error), tr_error_log(*error));
    tr_error_destroy(*error);
    exit(EXIT_FAILURE);
}

/* A GPU if there is one, else the CPU device. */
static inline tr_runner *open_runner(void) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.device = "auto";
    tr_runner *runner;
    tr_error *error;
    check(tr_runner_create(&options, &runner, &error), &error);
    return runner;
}

/* Device memory with a copy of `data` in it. */
static inline uint64_t upload(tr_runner *runner, const void *data, size_t bytes) {
    uint64_t pointer;
    tr_error *error;
    check(tr_device_alloc(runner, bytes, &pointer, &error), &error);
    check(tr_device_write(runner, pointer, data, bytes, &error), &error);
    return pointer;
}

/* Waits for the device, then copies back. */
static inline void download(tr_runner *runner, void *data, uint64_t pointer, size_t bytes) {
    tr_error *error;
    check(tr_device_synchronize(runner, &error), &error);
    check(tr_device_read(runner, data, pointer, bytes, &error), &error);
}

static inline int report(const char *what, double largest_error, double allowed) {
    printf("%s: largest error %.2g (allowed %.2g)\n", what, largest_error, allowed);
    return largest_error <= allowed ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
