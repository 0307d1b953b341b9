/* What the program that uses the library and the one that uses bare driver calls have in common. */
#ifndef BENCH_COLD_START_H
#define BENCH_COLD_START_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COLD_COUNT = 98304, COLD_BLOCK = 1024 };
#define COLD_SIGNATURE "*fp32:16, *fp32:16, *fp32:16, i32, 1024"

static inline void cold_fill(float *x, float *y) {
    for (int i = 0; i < COLD_COUNT; i++) x[i] = (float)i, y[i] = (float)(3 * i + 1);
}

/* Checked; then the byte whose arrival the parent notes. */
static inline void cold_tell(const float *x, const float *y, const float *out) {
    for (int i = 0; i < COLD_COUNT; i++) {
        if (out[i] == x[i] + y[i]) continue;
        fprintf(stderr, "element %d is %g, not %g\n", i, (double)out[i], (double)(x[i] + y[i]));
        _exit(1);
    }
    if (write(STDOUT_FILENO, "r", 1) != 1) _exit(1);
}

#endif
