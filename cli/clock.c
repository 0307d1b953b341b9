#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double clock_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

bool timings_reserve(timings *timings, unsigned count) {
    timings->took = calloc(count ? count : 1, sizeof *timings->took);
    timings->count = 0;
    return timings->took != NULL;
}

void timings_add(timings *timings, double took) {
    timings->took[timings->count++] = took;
}

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

void timings_print(timings *timings, const char *what) {
    unsigned count = timings->count;
    if (!count) return;
    qsort(timings->took, count, sizeof *timings->took, by_value);
    printf("%s: median %.4f ms of %u launches (least %.4f, most %.4f), launch to finish\n", what,
           timings->took[count / 2], count, timings->took[0], timings->took[count - 1]);
}

void timings_free(timings *timings) {
    free(timings->took);
}
