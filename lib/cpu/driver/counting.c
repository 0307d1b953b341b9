/* What launches did, kept until it is asked for: with TRITON_RUNNER_CPU_COUNTERS=1. */
#include "driver/driver.h"
#include "machine/counters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LAUNCHES = 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *launches[MOST_LAUNCHES]; /* the last ones */
static unsigned long long launch_count;

static void keep(char *json) {
    pthread_mutex_lock(&lock);
    char **place = &launches[launch_count++ % MOST_LAUNCHES];
    free(*place);
    *place = json;
    pthread_mutex_unlock(&lock);
}

CUresult trcpu_execute_counted(trcpu_memory *memory, const trcpu_launch *launch, uint32_t checks,
                               trcpu_fault *fault) {
    trcpu_counts *counters = trcpu_counts_create(launch->function);
    if (!counters) return CUDA_ERROR_OUT_OF_MEMORY;
    int result = trcpu_execute(memory, launch, checks, counters, fault);
    char *json = trcpu_counts_json(counters, launch);
    trcpu_counts_destroy(counters);
    if (json) keep(json);
    return (CUresult)result;
}

static size_t append(char *json, size_t size, size_t at, const char *text) {
    size_t length = strlen(text);
    if (at + length < size) memcpy(json + at, text, length + 1);
    return at + length;
}

size_t trcpu_counters(char *json, size_t size) {
    char number[64];
    if (json && size) json[0] = 0;
    pthread_mutex_lock(&lock);
    unsigned long long first = launch_count > MOST_LAUNCHES ? launch_count - MOST_LAUNCHES : 0;
    snprintf(number, sizeof number, "{\"launch_count\": %llu, \"launches\": [", launch_count);
    size_t length = append(json, size, 0, number);
    for (unsigned long long i = first; i < launch_count; i++) {
        length = append(json, size, length, i > first ? ", " : "");
        length = append(json, size, length, launches[i % MOST_LAUNCHES]);
    }
    length = append(json, size, length, "]}");
    pthread_mutex_unlock(&lock);
    return length;
}
