/* Starts a program that the host cannot notice: no SIGCHLD, nothing for its wait() to find, no inherited
   file, signal mask or disposition, its own session (so a terminal's signals pass it by), no core file, "/"
   as the current folder. Safe in a process with threads: between the start and the exec only system calls are
   made.

   An exec gives a process back its SIGCHLD, so a child of the host can't be one. The program is therefore an
   orphan from the start, and how it ended is not known; what needs an exit status is run by a process that
   can wait (the helper, Triton's worker). A host that adopts orphans, as process 1 of a container does, may
   see this one end. */
#ifndef TR_COMPILERS_SPAWN_H
#define TR_COMPILERS_SPAWN_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

enum { TR__SPAWN_FILES = 4 };

typedef struct tr__spawn {
    const char *const *argv;        /* argv[0] is the program's path; ends with NULL */
    const char *const *environment; /* all of it, "NAME=value"; ends with NULL */
    int files[TR__SPAWN_FILES];     /* what becomes its files 0 … 3; -1: /dev/null */
} tr__spawn;

typedef struct tr__spawned {
    pid_t pid;
    int pidfd; /* -1: the kernel has none */
} tr__spawned;

/* TR_E_COMPILER_MISSING when there is no such program. */
tr_status tr__spawn_start(const tr__spawn *what, tr__spawned *out, tr_error **error);

typedef enum tr__spawn_state { TR__SPAWN_RUNS, TR__SPAWN_STOPPED, TR__SPAWN_ENDED } tr__spawn_state;
tr__spawn_state tr__spawn_check(const tr__spawned *spawned); /* never blocks */

void tr__spawn_kill(const tr__spawned *spawned);
void tr__spawn_forget(tr__spawned *spawned); /* closes the pidfd; the process goes on */

/* For waitpid()'s status: "by signal 6 (Aborted)", "with exit status 1". */
void tr__spawn_describe(int status, char *text, size_t size);

/* `more` ("NAME=value", ends with NULL; may be NULL), then, as far as it doesn't set them, a fixed locale and
   the few variables of the host's environment that a compiler needs: HOME, PATH, TMPDIR, LD_LIBRARY_PATH.
   NULL: no memory. */
char **tr__spawn_environment(const char *const *more);
void tr__spawn_environment_free(char **environment);

#endif
