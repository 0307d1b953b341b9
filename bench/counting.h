/* A kernel with any number of arguments (pointer, i32, fp32, pointer, …) that counts its launches, if it has one. */
#ifndef BENCH_COUNTING_H
#define BENCH_COUNTING_H

#include "bench.h"

enum { COUNTING_MAX = 58 };

typedef struct counting {
    const bench *bench;
    tr_kernel *kernel;
    CUfunction function;
    tr_launch_config config; /* one CTA on the bench's stream */
    tr_arg args[COUNTING_MAX];
    size_t count, size;
    char packed[1024];
    char *image; /* a file with the cubin (CPU device: PTX), for other launchers */
    uint64_t counter;
    unsigned launches; /* so many should have arrived */
} counting;

void counting_make(counting *counting, const bench *bench, size_t count);
void counting_launch_raw(counting *counting); /* cuLaunchKernelEx with the packed buffer */
/* The same, after the questions that no launch may go without: which context is current, and, but for the default stream,
   whether the stream is being captured. */
void counting_launch_asking(counting *counting);
void counting_launch(counting *counting); /* tr_launch */
void counting_launch_packed(counting *counting);
void counting_end(counting *counting); /* checks that all launches arrived */

#endif
