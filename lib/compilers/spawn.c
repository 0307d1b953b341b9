#include "compilers/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_SIZE = 1 << 16, SIGNALS = 64, FIRST_FREE_FILE = 16 };

#ifdef __SANITIZE_THREAD__
enum { SAME_MEMORY = 0 }; /* the sanitizer would take the child's steps for the thread's own */
#else
enum { SAME_MEMORY = CLONE_VM }; /* nothing of the host is copied, however large it is */
#endif

typedef struct child {
    const tr__spawn *what;
    int files[TR__SPAWN_FILES];
    unsigned long mask; /* of the signals, as the kernel has it: all of 1 … 64 */
    pid_t pid;          /* of the program */
    int pidfd;
    int error; /* errno of what failed first */
    _Alignas(16) char stacks[];
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
    syscall(SYS_personality, ADDR_NO_RANDOMIZE);
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

/* Starts the program and ends at once, so that the program has no parent here. It shares the host's table of
   files, where the pidfd goes. */
static int run_parent(void *argument) {
    child *self = argument;
    self->pid = clone(run_child, self->stacks + STACK_SIZE, SAME_MEMORY | CLONE_VFORK | CLONE_PIDFD, self,
                      &self->pidfd);
    if (self->pid < 0) self->error = errno;
    syscall(SYS_exit_group, 0);
    return 0;
}

static tr_status clone_child(child *self, tr_error **error) {
    unsigned long before;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &self->mask, &before, sizeof before);
    /* No exit signal: the host's SIGCHLD handler and wait() never hear of it. */
    pid_t parent =
        clone(run_parent, self->stacks + 2 * STACK_SIZE, SAME_MEMORY | CLONE_VFORK | CLONE_FILES, self);
    if (parent < 0) self->error = errno;
    while (parent > 0 && waitpid(parent, NULL, __WCLONE) < 0 && errno == EINTR) {
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    if (!self->error) return TR_OK;
    if (self->pidfd >= 0) close(self->pidfd);
    return tr__fail(error, self->pid > 0 ? TR_E_COMPILER_MISSING : TR_E_IO, "cannot run %s: %s",
                    self->what->argv[0], strerror(self->error));
}

tr_status tr__spawn_start(const tr__spawn *what, tr__spawned *out, tr_error **error) {
    *out = (tr__spawned){0, -1};
    int null_file = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_file < 0) return tr__fail(error, TR_E_IO, "cannot open /dev/null: %s", strerror(errno));
    size_t size =
        sizeof(child) + 2 * STACK_SIZE; /* shared: so it also works where SAME_MEMORY does not hold */
    child *self = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self == MAP_FAILED) {
        close(null_file);
        return tr__fail_out_of_memory(error);
    }
    *self = (child){.what = what, .mask = ~0ul, .pidfd = -1};
    for (int i = 0; i < TR__SPAWN_FILES; i++)
        self->files[i] = what->files[i] < 0 ? null_file : what->files[i];
    tr_status status = clone_child(self, error);
    if (!status) *out = (tr__spawned){self->pid, self->pidfd};
    munmap(self, size);
    close(null_file);
    return status;
}

/* The state as /proc tells it, '?' where there is none: "pid (name) S …", and the name may hold anything. */
static char process_state(pid_t pid) {
    char path[32], text[128];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return '?';
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    text[got > 0 ? got : 0] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] ? name_end[2] : '?';
}

tr__spawn_state tr__spawn_check(const tr__spawned *spawned) {
    struct pollfd polled = {spawned->pidfd, POLLIN, 0};
    if (spawned->pidfd >= 0 && poll(&polled, 1, 0) > 0) return TR__SPAWN_ENDED;
    if (kill(spawned->pid, 0)) return TR__SPAWN_ENDED;
    char state = process_state(spawned->pid);
    if (state == 'Z' || state == 'X') return TR__SPAWN_ENDED;
    return state == 'T' ? TR__SPAWN_STOPPED : TR__SPAWN_RUNS;
}

void tr__spawn_kill(const tr__spawned *spawned) {
    if (spawned->pidfd < 0)
        kill(spawned->pid, SIGKILL);
    else
        syscall(SYS_pidfd_send_signal, spawned->pidfd, SIGKILL, NULL, 0);
}

void tr__spawn_forget(tr__spawned *spawned) {
    /* A host that adopts orphans is its parent by now. */
    if (spawned->pid > 0) waitpid(spawned->pid, NULL, WNOHANG | __WALL);
    if (spawned->pidfd >= 0) close(spawned->pidfd);
    *spawned = (tr__spawned){0, -1};
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
