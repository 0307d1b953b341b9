#include "base/file.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static tr_status fail_io(tr_error **error, const char *what, const char *path) {
    char reason[128]; /* errno's text without strerror's shared buffer */
    return tr__fail(error, TR_E_IO, "cannot %s '%s': %s", what, path,
                    strerror_r(errno, reason, sizeof reason));
}

static tr_status read_all(int fd, const char *path, tr__blob *blob, tr_error **error) {
    size_t done = 0;
    while (done < blob->size) {
        ssize_t got = read(fd, blob->data + done, blob->size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_io(error, "read", path);
        if (got == 0) return tr__fail(error, TR_E_IO, "'%s' became shorter while it was read", path);
        done += (size_t)got;
    }
    tr__blob_seal(blob);
    return TR_OK;
}

static tr_status read_open(int fd, const char *path, size_t limit, tr__blob **out, tr_error **error) {
    struct stat info;
    if (fstat(fd, &info)) return fail_io(error, "read", path);
    if (!S_ISREG(info.st_mode)) return tr__fail(error, TR_E_IO, "cannot read '%s': not a regular file", path);
    if ((uint64_t)info.st_size > limit)
        return tr__fail(error, TR_E_UNSUPPORTED, "'%s' has %lld bytes; at most %zu are read", path,
                        (long long)info.st_size, limit);
    tr__blob *blob = tr__blob_allocate((size_t)info.st_size);
    if (!blob) return tr__fail_out_of_memory(error);
    tr_status status = read_all(fd, path, blob, error);
    if (status)
        tr__blob_release(blob);
    else
        *out = blob;
    return status;
}

tr_status tr__file_read(const char *path, size_t limit, tr__blob **out, tr_error **error) {
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: a FIFO must not hang us */
    if (fd < 0) return fail_io(error, "open", path);
    tr_status status = read_open(fd, path, limit, out, error);
    close(fd);
    return status;
}

static tr_status write_all(int fd, const char *path, const char *data, size_t size, tr_error **error) {
    while (size) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_io(error, "write", path);
        data += put;
        size -= (size_t)put;
    }
    return TR_OK;
}

/* As mkostemp, but with the mode of an ordinary file: asking for the umask would change it for other threads.
 */
static int open_temporary(char *path) {
    char *tail = path + strlen(path) - 6;
    for (uint32_t attempt = 0; attempt < 1000; attempt++) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        uint32_t word = ((uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 12 ^ attempt * 2654435761u) & 0xffffff;
        snprintf(tail, 7, "%06x", word);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

/* A device or a pipe is written into: a file in its place would be none. */
static tr_status write_into(const char *path, const void *data, size_t size, tr_error **error) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return fail_io(error, "write", path);
    tr_status status = write_all(fd, path, data, size, error);
    close(fd);
    return status;
}

tr_status tr__file_write(const char *path, const void *data, size_t size, tr_error **error) {
    char *temporary = NULL;
    struct stat info;
    if (!stat(path, &info) && !S_ISREG(info.st_mode)) return write_into(path, data, size, error);
    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) return tr__fail_out_of_memory(error);
    int fd = open_temporary(temporary);
    tr_status status = fd < 0 ? fail_io(error, "write", path) : write_all(fd, path, data, size, error);
    if (fd >= 0) {
        if (close(fd) && !status) status = fail_io(error, "write", path);
        if (!status && rename(temporary, path)) status = fail_io(error, "write", path);
        if (status) unlink(temporary);
    }
    free(temporary);
    return status;
}

bool tr__file_exists(const char *path) {
    struct stat info;
    return !stat(path, &info);
}

bool tr__file_absent(int number) {
    return number == ENOENT || number == ENOTDIR || number == EACCES || number == ENAMETOOLONG;
}

tr_status tr__file_find(const char *path, bool *there, tr_error **error) {
    *there = tr__file_exists(path);
    return *there || tr__file_absent(errno) ? TR_OK : fail_io(error, "look for", path);
}

char *tr__path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    const char *slash = length && folder[length - 1] != '/' ? "/" : "";
    char *path = NULL;
    return asprintf(&path, "%s%s%s", folder, slash, name) < 0 ? NULL : path;
}

char *tr__path_absolute(const char *path) {
    if (*path == '/') return strdup(path);
    char *folder = getcwd(NULL, 0);
    if (!folder) return errno == ENOMEM ? NULL : strdup(path); /* which then leads nowhere */
    char *joined = tr__path_join(folder, path);
    free(folder);
    return joined;
}

char *tr__path_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

char *tr__path_library_folder(void) {
    Dl_info info;
    static const char here; /* an address inside this object */
    if (!dladdr(&here, &info) || !info.dli_fname) return NULL;
    char *resolved = realpath(info.dli_fname, NULL);
    if (!resolved) return NULL;
    char *folder = tr__path_folder(resolved);
    free(resolved);
    return folder;
}
