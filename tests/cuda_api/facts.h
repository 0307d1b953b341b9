#ifndef FACTS_H
#define FACTS_H
#include <stddef.h>

typedef struct fact {
    const char *what;
    long long value;
} fact;

extern const fact facts_ours[], facts_theirs[];
extern const size_t facts_ours_count, facts_theirs_count;

#endif
