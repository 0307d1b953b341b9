/* Put before every source by the preset "coverage": a child that leaves by _exit is counted too. */
#include <unistd.h>

void __gcov_dump(void);
#define _exit(status) (__gcov_dump(), _exit(status))
