#include "facts.h"

#include <stdio.h>
#include <string.h>

int main(void) {
    int wrong = 0;
    for (size_t i = 0; i < facts_theirs_count; i++)
        if (strcmp(facts_ours[i].what, facts_theirs[i].what) ||
            facts_ours[i].value != facts_theirs[i].value) {
            printf("%s is %lld here, %lld in cuda.h\n", facts_ours[i].what, facts_ours[i].value,
                   facts_theirs[i].value);
            wrong++;
        }
    printf("%zu facts, %d wrong\n", facts_theirs_count, wrong);
    return wrong || facts_ours_count != facts_theirs_count || facts_theirs_count < 300;
}
