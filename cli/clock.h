/* How long launches took. */
#ifndef CLI_CLOCK_H
#define CLI_CLOCK_H

#include <stdbool.h>

typedef struct timings {
    double *took; /* ms */
    unsigned count;
} timings;

double clock_ms(void);
bool timings_reserve(timings *timings, unsigned count); /* false: out of memory */
void timings_add(timings *timings, double took);
void timings_print(timings *timings, const char *what); /* "WHAT: median … ms of N launches" */
void timings_free(timings *timings);

#endif
