#include "compilers/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_SIZE = 1 << 16, SIGNALS = 64, FIRST_FREE_FILE = 16 };

typedef struct child {
    const tr__spawn *what;
    int files[TR__SPAWN_FILES];
    unsigned long mask; /* of the signals, as the kernel has it: all of 1 … 64 */
    int error;          /* written by the child: errno of the exec that failed */
} child;

/* The kernel's own struct sigaction; all zero is SIG_DFL. The C library's keeps two signals to itself. */
typedef struct kernel_sigaction {
    unsigned long words[4];
} kernel_sigaction;

static void close_from(unsigned first) {
    if (!syscall(SYS_close_range, first, ~0u, 0)) return;
    struct rlimit limit;
    unsigned end = syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) ? 1024 : (unsigned)limit.rlim_cur;
    for (unsigned file = first; file < end; file++) syscall(SYS_close, file);
}

/* Runs on its own stack but in the host's memory, with all signals blocked, while the thread that started it
   waits: so nothing but system calls, and not through the C library's wrappers, which sanitizers replace. */
static int run_child(void *argument) {
    child *self = argument;
    syscall(SYS_setsid);
    struct rlimit none = {0, 0};
    syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, NULL);
    int files[TR__SPAWN_FILES];
    for (int i = 0; i < TR__SPAWN_FILES; i++)
        files[i] = (int)syscall(SYS_fcntl, self->files[i], F_DUPFD_CLOEXEC, FIRST_FREE_FILE);
    for (int i = 0; i < TR__SPAWN_FILES; i++) syscall(SYS_dup3, files[i], i, 0);
    close_from(TR__SPAWN_FILES);
    kernel_sigaction by_default = {{0}};
    for (int number = 1; number <= SIGNALS; number++)
        syscall(SYS_rt_sigaction, number, &by_default, NULL, sizeof(unsigned long));
    unsigned long nothing = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &nothing, NULL, sizeof nothing);
    syscall(SYS_chdir, "/");
    syscall(SYS_execve, self->what->argv[0], self->what->argv, self->what->environment);
    self->error = errno;
    syscall(SYS_exit_group, 127);
    return 0;
}

static tr_status clone_child(child *self, pid_t *pid, tr_error **error) {
    char *stack =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return tr__fail_out_of_memory(error);
    unsigned long before;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &self->mask, &before, sizeof before);
    /* No exit signal: the host's SIGCHLD handler and wait() never hear of it. */
    *pid = clone(run_child, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK, self);
    int number = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    munmap(stack, STACK_SIZE);
    const char *program = self->what->argv[0];
    if (*pid < 0) return tr__fail(error, TR_E_IO, "cannot start %s: %s", program, strerror(number));
    if (!self->error) return TR_OK;
    int status;
    tr__spawn_kill(*pid, &status);
    return tr__fail(error, TR_E_COMPILER_MISSING, "cannot run %s: %s", program, strerror(self->error));
}

tr_status tr__spawn_start(const tr__spawn *what, pid_t *pid, tr_error **error) {
    int null_file = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_file < 0) return tr__fail(error, TR_E_IO, "cannot open /dev/null: %s", strerror(errno));
    child self = {.what = what, .mask = ~0ul};
    for (int i = 0; i < TR__SPAWN_FILES; i++) self.files[i] = what->files[i] < 0 ? null_file : what->files[i];
    tr_status status = clone_child(&self, pid, error);
    close(null_file);
    return status;
}

tr__spawn_state tr__spawn_check(pid_t pid, int *status) {
    pid_t found = waitpid(pid, status, WNOHANG | __WALL);
    if (found == pid) return TR__SPAWN_ENDED;
    if (found < 0) { /* someone else reaped it */
        *status = 0;
        return TR__SPAWN_ENDED;
    }
    /* A stop is looked at and left in place: several threads may ask. */
    siginfo_t info = {0};
    if (!waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT | __WALL) && info.si_pid == pid)
        return TR__SPAWN_STOPPED;
    return TR__SPAWN_RUNS;
}

void tr__spawn_kill(pid_t pid, int *status) {
    *status = 0;
    kill(pid, SIGKILL);
    while (waitpid(pid, status, __WALL) < 0 && errno == EINTR) {
    }
}

void tr__spawn_describe(int status, char *text, size_t size) {
    if (WIFSIGNALED(status))
        snprintf(text, size, "by signal %d (%s)", WTERMSIG(status), sigdescr_np(WTERMSIG(status)));
    else
        snprintf(text, size, "with exit status %d", WEXITSTATUS(status));
}

char **tr__spawn_environment(const char *const *more) {
    static const char *const kept[] = {"HOME", "PATH", "TMPDIR", "LD_LIBRARY_PATH"};
    size_t kept_count = sizeof kept / sizeof *kept, more_count = 0, count = 0;
    while (more && more[more_count]) more_count++;
    char **all = calloc(kept_count + more_count + 2, sizeof *all);
    if (!all) return NULL;
    bool failed = false; /* of two with the same name the first counts */
    for (size_t i = 0; i < more_count && !failed; i++) failed = !(all[count++] = strdup(more[i]));
    if (!failed) failed = !(all[count++] = strdup("LC_ALL=C.UTF-8"));
    for (size_t i = 0; i < kept_count && !failed; i++) {
        const char *value = getenv(kept[i]);
        if (!value) continue;
        failed = asprintf(&all[count], "%s=%s", kept[i], value) < 0;
        if (failed) all[count] = NULL;
        count++;
    }
    if (!failed) return all;
    tr__spawn_environment_free(all);
    return NULL;
}

void tr__spawn_environment_free(char **environment) {
    for (size_t i = 0; environment && environment[i]; i++) free(environment[i]);
    free(environment);
}
