/* Errors are compared by this and not by fmax, which forgets what is no number. */
#ifndef EXAMPLES_LARGER_H
#define EXAMPLES_LARGER_H

#include <math.h>

/* The larger of two errors; one that is no number is larger than any. */
static inline double larger(double largest, double error) {
    return error <= largest ? largest : isnan(error) ? INFINITY : error;
}

#endif
