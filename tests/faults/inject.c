#include "inject.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *const inject_how_names[INJECT_HOWS] = {"EIO", "ENOSPC", "EINTR", "short", "limit"};
int (*inject_in_child)(void);
int inject_bad_children;

static struct {
    inject_kind kind;
    inject_how how;
    unsigned long nth, seen;
    const char *where; /* NULL: not reached */
} armed;
static _Thread_local bool here; /* armed in this thread, and not paused */
static long blocks;

void inject_arm(inject_kind kind, inject_how how, unsigned long nth) {
    armed.kind = kind, armed.how = how, armed.nth = nth, armed.seen = 0, armed.where = NULL;
    here = true;
}

static pid_t child; /* of the fork; 0: none */

static void collect_child(void) {
    int status = 0;
    if (child && (child < 0 || waitpid(child, &status, 0) != child || status))
        inject_bad_children = status ? status : -1;
    child = 0;
}

unsigned long inject_disarm(bool *happened, const char **where) {
    here = false;
    *happened = armed.where != NULL;
    *where = armed.where ? armed.where : "";
    armed.kind = INJECT_NOTHING;
    collect_child();
    return armed.seen;
}

void inject_pause(bool pause) {
    here = !pause && armed.kind != INJECT_NOTHING;
}

long inject_blocks(void) {
    return __atomic_load_n(&blocks, __ATOMIC_RELAXED);
}

/* As another thread's fork would find this process: in the middle of whatever the library is doing, and it goes on. */
static void fork_now(void) {
    here = false;
    int problem = errno;
    child = fork();
    if (!child) {
        alarm(10);
        _exit(inject_in_child());
    }
    errno = problem;
    here = true;
}

bool inject_traces;

static void trace(void) {
    void *frames[24];
    here = false;
    backtrace_symbols_fd(frames, backtrace(frames, 24), 2);
    here = true;
}

/* Counts one operation; true: it is the one. */
static bool is_due(inject_kind kind, const char *where) {
    if (!here || (armed.kind != kind && armed.kind != INJECT_FORK)) return false;
    if (++armed.seen != armed.nth) return false;
    armed.where = where;
    if (inject_traces) trace();
    if (armed.kind != INJECT_FORK) return true;
    fork_now();
    return false;
}

/* ---- memory ---- */

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void (*free)(void *);
    bool busy;
} next;
static _Alignas(16) char early[1 << 14]; /* while dlsym looks for the others */
static size_t early_used;

static void resolve(void) {
    next.busy = true;
#define FIND(name) *(void **)&next.name = dlsym(RTLD_NEXT, #name)
    FIND(calloc);
    FIND(realloc);
    FIND(aligned_alloc);
    FIND(posix_memalign);
    FIND(free);
    FIND(malloc);
    next.busy = false;
}

static void *early_block(size_t size) {
    size_t at = early_used;
    early_used += (size + 15) & ~(size_t)15;
    return early_used <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *block) {
    return (const char *)block >= early && (const char *)block < early + sizeof early;
}

static void *counted(void *block) {
    if (block) __atomic_fetch_add(&blocks, 1, __ATOMIC_RELAXED);
    return block;
}

static bool must_fail(const char *where) {
    if (!is_due(INJECT_MEMORY, where)) return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size) {
    if (next.busy) return early_block(size);
    if (!next.malloc) resolve();
    return must_fail("malloc") ? NULL : counted(next.malloc(size));
}

void *calloc(size_t count, size_t size) {
    if (next.busy) return early_block(count * size);
    if (!next.malloc) resolve();
    return must_fail("calloc") ? NULL : counted(next.calloc(count, size));
}

void *realloc(void *block, size_t size) {
    if (!next.malloc) resolve();
    if (!block) return malloc(size);
    if (must_fail("realloc")) return NULL;
    void *moved = next.realloc(block, size);
    if (!moved && !size) __atomic_fetch_sub(&blocks, 1, __ATOMIC_RELAXED);
    return moved;
}

void *aligned_alloc(size_t alignment, size_t size) {
    if (!next.malloc) resolve();
    return must_fail("aligned_alloc") ? NULL : counted(next.aligned_alloc(alignment, size));
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    if (!next.malloc) resolve();
    if (must_fail("posix_memalign")) return ENOMEM;
    int status = next.posix_memalign(out, alignment, size);
    if (!status) counted(*out);
    return status;
}

/* The sanitizer's own would not come by here. */
char *strndup(const char *text, size_t most) {
    size_t length = strnlen(text, most);
    char *copy = malloc(length + 1);
    if (copy) memcpy(copy, text, length), copy[length] = '\0';
    return copy;
}

char *strdup(const char *text) {
    return strndup(text, strlen(text));
}

void free(void *block) {
    if (!block || is_early(block)) return;
    if (!next.malloc) resolve();
    __atomic_fetch_sub(&blocks, 1, __ATOMIC_RELAXED);
    next.free(block);
}

/* ---- files ---- */

/* Which ways an operation can fail, and what the number is. */
enum {
    EIO_ONLY = 1 << INJECT_EIO,
    OPENS = EIO_ONLY | 1 << INJECT_LIMIT,
    LIMITED = 1 << INJECT_LIMIT,
    MAKES = EIO_ONLY | 1 << INJECT_ENOSPC,
    READS = EIO_ONLY | 1 << INJECT_EINTR | 1 << INJECT_SHORT,
    WRITES = READS | 1 << INJECT_ENOSPC,
    WAITS = 1 << INJECT_EINTR,
    CLOSES = EIO_ONLY | WAITS,
    SENDS = WAITS | 1 << INJECT_SHORT
};

static bool fails(unsigned ways, const char *where) {
    if (!(ways & 1u << armed.how) && armed.kind == INJECT_FILE) return false;
    if (!is_due(INJECT_FILE, where)) return false;
    static const int numbers[INJECT_HOWS] = {EIO, ENOSPC, EINTR, 0, EMFILE};
    errno = numbers[armed.how];
    return true;
}

#define WRAP(result, name, parameters, arguments, ways, failure)                                             \
    result __real_##name parameters;                                                                         \
    result __wrap_##name parameters;                                                                         \
    result __wrap_##name parameters {                                                                        \
        return fails(ways, #name) ? failure : __real_##name arguments;                                       \
    }

WRAP(int, fstat, (int fd, struct stat *info), (fd, info), EIO_ONLY, -1)
WRAP(int, stat, (const char *path, struct stat *info), (path, info), EIO_ONLY, -1)
WRAP(int, fstatat, (int fd, const char *path, struct stat *info, int flags), (fd, path, info, flags),
     EIO_ONLY, -1)
WRAP(int, access, (const char *path, int mode), (path, mode), EIO_ONLY, -1)
WRAP(char *, realpath, (const char *path, char *out), (path, out), EIO_ONLY, NULL)
WRAP(char *, getcwd, (char *out, size_t size), (out, size), EIO_ONLY, NULL)
WRAP(off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence), EIO_ONLY, -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), MAKES, -1)
WRAP(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), MAKES, -1)
WRAP(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), MAKES,
     -1)
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), EIO_ONLY, -1)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), MAKES, -1)
WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), MAKES, -1)
WRAP(int, futimens, (int fd, const struct timespec *times), (fd, times), EIO_ONLY, -1)
WRAP(DIR *, opendir, (const char *path), (path), OPENS, NULL)
WRAP(DIR *, fdopendir, (int fd), (fd), OPENS, NULL)
WRAP(struct dirent *, readdir, (DIR * folder), (folder), EIO_ONLY, NULL)
WRAP(int, pipe2, (int *ends, int flags), (ends, flags), LIMITED, -1)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), LIMITED, -1)
WRAP(int, socketpair, (int domain, int type, int protocol, int *ends), (domain, type, protocol, ends),
     LIMITED, -1)
WRAP(int, poll, (struct pollfd * polled, nfds_t count, int ms), (polled, count, ms), WAITS, -1)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), WAITS, -1)

/* A short one gives half; nothing at all would be an end. */
#define WRAP_SIZED(name, parameters, arguments, half, size, ways)                                            \
    ssize_t __real_##name parameters;                                                                        \
    ssize_t __wrap_##name parameters;                                                                        \
    ssize_t __wrap_##name parameters {                                                                       \
        if (!fails(armed.how == INJECT_SHORT && size < 2 ? 0 : ways, #name)) return __real_##name arguments; \
        return armed.how == INJECT_SHORT ? __real_##name half : -1;                                          \
    }

WRAP_SIZED(read, (int fd, void *to, size_t size), (fd, to, size), (fd, to, size / 2), size, READS)
WRAP_SIZED(write, (int fd, const void *from, size_t size), (fd, from, size), (fd, from, size / 2), size,
           WRITES)
WRAP_SIZED(pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at), (fd, to, size / 2, at), size,
           READS)
WRAP_SIZED(recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags), (fd, to, size / 2, flags),
           size, SENDS)
WRAP_SIZED(send, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags),
           (fd, from, size / 2, flags), size, SENDS)

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) { /* which is closed whatever it says */
    bool failed = fails(CLOSES, "close");
    int problem = errno, status = __real_close(fd);
    if (!failed) return status;
    errno = problem;
    return -1;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(OPENS | (flags & O_CREAT ? MAKES : 0), "open") ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int fd, const char *path, int flags, ...);
int __wrap_openat(int fd, const char *path, int flags, ...);
int __wrap_openat(int fd, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    bool makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
    mode_t mode = makes ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(OPENS | (makes ? MAKES : 0), "openat") ? -1 : __real_openat(fd, path, flags, mode);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    if (!fails(EIO_ONLY, "fcntl")) return __real_fcntl(fd, command, argument);
    errno = ENOLCK; /* some network file systems have no locks */
    return -1;
}

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (!fails(LIMITED, "mmap")) return __real_mmap(at, size, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

int __real_clone(int (*run)(void *), void *stack, int flags, void *argument, ...);
int __wrap_clone(int (*run)(void *), void *stack, int flags, void *argument, ...);
int __wrap_clone(int (*run)(void *), void *stack, int flags, void *argument, ...) {
    va_list more;
    va_start(more, argument);
    void *pidfd = flags & CLONE_PIDFD ? va_arg(more, void *) : NULL;
    va_end(more);
    /* The second is called where nothing of the C library may be: in memory shared with the host. */
    if ((flags & CLONE_PIDFD) || !fails(LIMITED, "clone"))
        return __real_clone(run, stack, flags, argument, pidfd);
    errno = EAGAIN;
    return -1;
}
