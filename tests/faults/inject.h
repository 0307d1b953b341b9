/* Faults on demand, in the calling thread: the n-th allocation fails, also inside libc, jansson and libffi; the n-th
   file operation of the library fails; the process forks at the n-th of either. The allocator is interposed, the file
   operations are wrapped by the linker (CMakeLists.txt lists them). */
#ifndef INJECT_H
#define INJECT_H

#include <stdbool.h>

typedef enum inject_kind { INJECT_NOTHING, INJECT_MEMORY, INJECT_FILE, INJECT_FORK } inject_kind;

/* How a file operation fails. An operation that can't fail this way isn't counted. */
typedef enum inject_how {
    INJECT_EIO,
    INJECT_ENOSPC,
    INJECT_EINTR,
    INJECT_SHORT, /* half of what was asked for */
    INJECT_LIMIT, /* EMFILE; EAGAIN and ENOMEM where that is how a limit shows */
    INJECT_HOWS
} inject_how;
extern const char *const inject_how_names[INJECT_HOWS];

/* The n-th from now (1: the next) of what `kind` counts; 0: none, only counting. */
void inject_arm(inject_kind kind, inject_how how, unsigned long nth);
/* Ends it; what was counted. *happened: it was reached. *where: the operation that failed, static. */
unsigned long inject_disarm(bool *happened, const char **where);

/* What is done between is neither counted nor failed: the test's own. */
void inject_pause(bool pause);

/* Run in the child of the fork, which ends by it; its status must be 0 within ten seconds. */
extern int (*inject_in_child)(void);
/* How children ended otherwise; 0: none did. */
extern int inject_bad_children;

extern bool inject_traces; /* writes to stderr where the fault comes */

long inject_blocks(void); /* allocated and not freed */

#endif
