#include "cache/folder.h"

#include "base/file.h"

#include <dirent.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { USED_S = 5 };
static const uint64_t default_limit = (uint64_t)4 << 30;

/* "512M", "4G", "1000000"; what can't be read is the default. */
static uint64_t read_limit(const char *text) {
    char *end = NULL;
    uint64_t limit = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : default_limit;
    if (!end || !*end) return limit;
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    return shift && !end[1] && limit <= UINT64_MAX >> shift ? limit << shift : default_limit;
}

static char *default_path(bool *homeless) {
    const char *own = getenv("TRITON_RUNNER_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (own) return strdup(own);
    if (xdg && *xdg == '/') return tr__path_join(xdg, "triton_runner"); /* a relative one is to be ignored */
    if (home && *home == '/') return tr__path_join(home, ".cache/triton_runner");
    *homeless = true;
    return strdup("");
}

bool tr__folder_init(tr__folder *folder, const char *path) {
    folder->path = path ? strdup(path) : default_path(&folder->homeless);
    folder->limit = read_limit(getenv("TRITON_RUNNER_CACHE_SIZE"));
    if (!folder->path) return false;
    if (!*folder->path) {
        free(folder->path);
        folder->path = NULL;
    }
    return true;
}

void tr__folder_release(tr__folder *folder) {
    free(folder->path);
    folder->path = NULL;
}

__attribute__((format(printf, 3, 4))) static void say(tr__folder *folder, int32_t level, const char *format,
                                                      ...) {
    if (!folder->log) return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    folder->log(folder->log_user, level, line);
}

/* Says once why there is no cache on disk; then the library goes on without. */
static int unusable(tr__folder *folder, const char *what, int number) {
    char reason[128] = "";
    if (!__atomic_exchange_n(&folder->told, 1, __ATOMIC_RELAXED))
        say(folder, 2, "compile results are not kept on disk: %s '%s'%s%s", what, folder->path,
            number ? ": " : "", number ? strerror_r(number, reason, sizeof reason) : "");
    return -1;
}

/* Makes the folder and those above it. */
static int make_path(const char *path) {
    char *copy = strdup(path);
    if (!copy) return -1;
    int result = 0;
    for (char *at = copy + 1; !result && (at = strchr(at, '/')); at++) {
        *at = '\0';
        if (mkdir(copy, 0700) && errno != EEXIST) result = -1;
        *at = '/';
    }
    if (!result && mkdir(copy, 0700) && errno != EEXIST) result = -1;
    free(copy);
    return result;
}

static int without_path(tr__folder *folder) {
    if (folder->homeless && !__atomic_exchange_n(&folder->told, 1, __ATOMIC_RELAXED))
        say(folder, 2,
            "compile results are not kept on disk: none of TRITON_RUNNER_CACHE_DIR, XDG_CACHE_HOME and HOME "
            "names a folder");
    return -1;
}

/* The folder's descriptor, or -1. One that another user owns or can write is refused: what lies there is run. */
static int open_folder(tr__folder *folder, bool make) {
    if (!folder->path) return without_path(folder);
    int fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && make) {
        if (make_path(folder->path)) return unusable(folder, "cannot make", errno);
        fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0) return errno == ENOENT ? -1 : unusable(folder, "cannot open", errno);
    struct stat info;
    const char *wrong = fstat(fd, &info)                     ? "cannot read"
                        : info.st_uid != geteuid()           ? "another user owns"
                        : info.st_mode & (S_IWGRP | S_IWOTH) ? "other users can write"
                                                             : NULL;
    if (!wrong) return fd;
    close(fd);
    return unusable(folder, wrong, 0);
}

bool tr__folder_usable(const tr__folder *folder) {
    char path[PATH_MAX];
    if (!folder->path || folder->told || strlen(folder->path) >= sizeof path) return false;
    memcpy(path, folder->path, strlen(folder->path) + 1);
    bool there = true;
    for (char *slash; access(path, R_OK | W_OK | X_OK); there = false) {
        slash = strrchr(path, '/'); /* what is not there yet is made in the nearest that is */
        if (errno != ENOENT || !slash || slash == path) return false;
        *slash = '\0';
    }
    int fd = there ? open_folder(&(tr__folder){.path = path}, false) : -1;
    if (fd >= 0) close(fd);
    return fd >= 0 || !there;
}

static int open_part(int folder, const char *name, bool make) {
    if (make && mkdirat(folder, name, 0700) && errno != EEXIST) return -1;
    return openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void entry_name(tr__hash hash, char part[3], char name[31]) {
    char hex[33];
    tr__hash_hex(hash, hex);
    memcpy(part, hex, 2);
    part[2] = '\0';
    memcpy(name, hex + 2, 31);
}

/* The folder two digits deep that holds the entry; its name in there. */
static int open_part_of(tr__folder *folder, tr__hash hash, char name[31], bool make) {
    char part[3];
    entry_name(hash, part, name);
    int top = open_folder(folder, make);
    if (top < 0) return -1;
    int fd = open_part(top, part, make);
    if (fd < 0 && make) unusable(folder, "cannot write to", errno);
    close(top);
    return fd;
}

/* The least recently used go first; once in a while is enough. */
static void mark_used(int fd) {
    struct stat info;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!fstat(fd, &info) && now.tv_sec - info.st_mtim.tv_sec > USED_S) futimens(fd, NULL);
}

int tr__folder_open(tr__folder *folder, tr__hash hash) {
    char name[31];
    int part = open_part_of(folder, hash, name, false);
    if (part < 0) return -1;
    int fd = openat(part, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    close(part);
    if (fd >= 0) mark_used(fd);
    return fd;
}

static bool write_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        data += put;
        size -= (size_t)put;
    }
    return true;
}

/* A file without a name leaves nothing behind when we are killed; where there are none, a temporary does. */
static bool publish_unnamed(int part, const char *name, const void *data, size_t size, bool *tried) {
    int fd = openat(part, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    char self[32];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    bool written = write_all(fd, data, size);
    bool done = written && !linkat(AT_FDCWD, self, part, name, AT_SYMLINK_FOLLOW);
    if (written && !done && errno == EEXIST) { /* somebody else's bytes under this name: ours are right */
        unlinkat(part, name, 0);
        done = !linkat(AT_FDCWD, self, part, name, AT_SYMLINK_FOLLOW) || errno == EEXIST;
    }
    *tried = !written || done || errno != ENOENT; /* ENOENT: no /proc here */
    int problem = errno;
    close(fd);
    errno = problem;
    return done;
}

static bool publish_renamed(int part, const char *name, const void *data, size_t size) {
    char temporary[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(temporary, sizeof temporary, ".%d-%lx%lx", (int)getpid(), (unsigned long)now.tv_sec,
             now.tv_nsec);
    int fd = openat(part, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    bool done = write_all(fd, data, size);
    done = !close(fd) && done;
    done = done && !renameat(part, temporary, part, name);
    int problem = errno;
    if (!done) unlinkat(part, temporary, 0);
    errno = problem;
    return done;
}

void tr__folder_write(tr__folder *folder, tr__hash hash, const void *data, size_t size) {
    char name[31];
    int part = open_part_of(folder, hash, name, true);
    if (part < 0) return;
    bool tried = false;
    bool done = publish_unnamed(part, name, data, size, &tried) ||
                (!tried && publish_renamed(part, name, data, size));
    if (!done) unusable(folder, "cannot write to", errno);
    close(part);
    if (!done) return;
    uint64_t unscanned = __atomic_add_fetch(&folder->unscanned, size, __ATOMIC_RELAXED);
    if (unscanned != size && unscanned < folder->limit / 64) return; /* looks at the first, then each 1/64 */
    __atomic_store_n(&folder->unscanned, 1, __ATOMIC_RELAXED);
    uint64_t removed;
    tr__folder_prune(folder, folder->limit, &removed, NULL);
}

void tr__folder_set_aside(tr__folder *folder, tr__hash hash, const char *why) {
    char name[31], part_name[3], aside[36];
    entry_name(hash, part_name, name);
    snprintf(aside, sizeof aside, "%s%s", part_name, name);
    int top = open_folder(folder, false);
    if (top < 0) return;
    int part = open_part(top, part_name, false), damaged = open_part(top, "damaged", true);
    if (part >= 0 && (damaged < 0 || renameat(part, name, damaged, aside))) unlinkat(part, name, 0);
    say(folder, 2, "cache entry %s%s is %s; it is set aside in '%s/damaged' and made again", part_name, name,
        why, folder->path);
    if (part >= 0) close(part);
    if (damaged >= 0) close(damaged);
    close(top);
}

static struct flock lock_of(tr__hash hash, short type) {
    return (struct flock){
        .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(hash.low & INT64_MAX >> 1), .l_len = 1};
}

int tr__folder_lock(tr__folder *folder, tr__hash hash) {
    int top = open_folder(folder, true);
    if (top < 0) return TR__LOCK_NONE;
    int fd = openat(top, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    close(top);
    if (fd < 0) return TR__LOCK_NONE;
    struct flock lock = lock_of(hash, F_WRLCK); /* of this open file: threads exclude each other too */
    if (!fcntl(fd, F_OFD_SETLK, &lock)) return fd;
    bool busy = errno == EAGAIN || errno == EACCES;
    close(fd);
    return busy ? TR__LOCK_BUSY : TR__LOCK_NONE;
}

void tr__folder_unlock(int lock, tr__hash hash) {
    if (lock < 0) return;
    struct flock unlock =
        lock_of(hash, F_UNLCK); /* by hand: a fork of the host may still hold the description */
    fcntl(lock, F_OFD_SETLK, &unlock);
    close(lock);
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hash(const char part[2], const char *name, tr__hash *hash) {
    char hex[32];
    memcpy(hex, part, 2);
    memcpy(hex + 2, name, 30);
    *hash = (tr__hash){0, 0};
    for (int i = 0; i < 32; i++) {
        int digit = hex_digit(hex[i]);
        if (digit < 0) return false;
        uint64_t *word = i < 16 ? &hash->high : &hash->low;
        *word = *word << 4 | (uint64_t)digit;
    }
    return true;
}

/* Temporaries of a process that was killed; an hour old, nobody writes them any more. */
static void sweep(int part, const char *name, const struct stat *info) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (*name == '.' && info->st_mtim.tv_sec + 3600 < now.tv_sec) unlinkat(part, name, 0);
}

static bool visit_part(int part, const char *part_name, bool (*visit)(void *, const tr__entry_info *),
                       void *user) {
    DIR *open_part = fdopendir(part); /* takes the descriptor over */
    if (!open_part) return close(part), true;
    bool go_on = true;
    for (struct dirent *entry; go_on && (entry = readdir(open_part));) {
        tr__entry_info info;
        struct stat status;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            fstatat(dirfd(open_part), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) ||
            !S_ISREG(status.st_mode))
            continue;
        sweep(dirfd(open_part), entry->d_name, &status);
        if (strlen(entry->d_name) != 30 || !parse_hash(part_name, entry->d_name, &info.hash)) continue;
        snprintf(info.name, sizeof info.name, "%.2s/%.30s", part_name, entry->d_name);
        info.bytes = (uint64_t)status.st_size;
        info.used = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
        go_on = visit(user, &info);
    }
    closedir(open_part);
    return go_on;
}

bool tr__folder_visit(tr__folder *folder, bool (*visit)(void *, const tr__entry_info *), void *user) {
    int top = open_folder(folder, false);
    if (top < 0) return false;
    bool go_on = true;
    for (int i = 0; go_on && i < 256; i++) {
        char name[4];
        snprintf(name, sizeof name, "%02x", i & 255);
        int part = open_part(top, name, false);
        if (part >= 0) go_on = visit_part(part, name, visit, user);
    }
    close(top);
    return true;
}

typedef struct scan {
    tr__entry_info *entries;
    size_t count, capacity;
    uint64_t bytes;
    bool failed;
} scan;

static bool collect(void *user, const tr__entry_info *entry) {
    scan *scan = user;
    if (scan->count == scan->capacity) {
        size_t capacity = scan->capacity ? scan->capacity * 2 : 256;
        tr__entry_info *grown = realloc(scan->entries, capacity * sizeof *grown);
        if (!grown) return !(scan->failed = true);
        scan->entries = grown;
        scan->capacity = capacity;
    }
    scan->entries[scan->count++] = *entry;
    scan->bytes += entry->bytes;
    return true;
}

static int by_use(const void *a, const void *b) {
    int64_t left = ((const tr__entry_info *)a)->used, right = ((const tr__entry_info *)b)->used;
    return (left > right) - (left < right);
}

/* The bytes of what was set aside; `clear` removes it. */
static uint64_t look_at_damaged(int top, bool clear) {
    uint64_t bytes = 0;
    int part = open_part(top, "damaged", false);
    DIR *damaged = part < 0 ? NULL : fdopendir(part);
    if (!damaged) {
        if (part >= 0) close(part);
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(damaged));) {
        struct stat info;
        if (entry->d_name[0] == '.') continue;
        if (clear)
            unlinkat(part, entry->d_name, 0);
        else if (!fstatat(part, entry->d_name, &info, AT_SYMLINK_NOFOLLOW))
            bytes += (uint64_t)info.st_size;
    }
    closedir(damaged);
    return bytes;
}

/* Another process may have removed one meanwhile. */
static tr_status remove_least_used(tr__folder *folder, int top, scan *scan, uint64_t limit, uint64_t *removed,
                                   tr_error **error) {
    tr_status status = TR_OK;
    char reason[128];
    if (scan->count) qsort(scan->entries, scan->count, sizeof *scan->entries, by_use);
    /* a tenth more than must go, so that not every publication comes back here */
    uint64_t aim = limit - limit / 10;
    for (size_t i = 0; i < scan->count && scan->bytes > aim; i++) {
        bool done = !unlinkat(top, scan->entries[i].name, 0);
        if (!done && errno != ENOENT) {
            if (!status)
                status = tr__fail(error, TR_E_IO, "cannot remove '%s/%s' from the cache: %s", folder->path,
                                  scan->entries[i].name, strerror_r(errno, reason, sizeof reason));
            continue;
        }
        scan->bytes -= scan->entries[i].bytes;
        *removed += done;
    }
    return status;
}

tr_status tr__folder_prune(tr__folder *folder, uint64_t limit, uint64_t *removed, tr_error **error) {
    *removed = 0;
    scan scan = {0};
    tr_status status = TR_OK;
    if (!tr__folder_visit(folder, collect, &scan)) return TR_OK;
    int top = open_folder(folder, false);
    if (top >= 0) {
        /* what was set aside is for a look, not for ever: it goes first */
        if (!limit || scan.bytes + look_at_damaged(top, false) > limit) look_at_damaged(top, true);
        if (scan.bytes > limit || !limit)
            status = remove_least_used(folder, top, &scan, limit, removed, error);
        close(top);
    }
    free(scan.entries);
    return scan.failed && !status ? tr__fail_out_of_memory(error) : status;
}
