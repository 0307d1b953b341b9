/* companion.py, a Python process beside the benchmark that measures what other libraries do, when it is told to: so both
   are measured in turns. A request is a line of words; the answer is a number. */
#ifndef BENCH_COMPANION_H
#define BENCH_COMPANION_H

#include "bench.h"

#include <stdio.h>
#include <sys/types.h>

typedef struct companion {
    pid_t process;
    FILE *to, *from;
} companion;

/* bench->python; else the first interpreter of TRITON_RUNNER_PYTHON, else python3. On the CPU device, and with --python
   none, nothing is there. */
void companion_start(companion *companion, const bench *bench);
/* 0: what was asked for is not there; the reason is printed, once for each first two words. A failure ends the program. */
__attribute__((format(printf, 2, 3))) double companion_ask(companion *companion, const char *format, ...);
/* What "versions" answers, as text; "" without a companion. */
void companion_versions(companion *companion, char *text, size_t size);
void companion_end(companion *companion);

/* The interpreter's path into text, and the folder of its packages, "" for its own. */
void companion_python(const bench *bench, char *interpreter, char *packages, size_t size);

#endif
