/* What the CPU device counted of the launches, for people. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

/* The counters' report (TR_REPORT_COUNTERS) as tables: a launch, its lines, its instructions. "device" is null on a
   GPU: says so. Returns an exit status. */
int profile_print(const char *json);

#endif
