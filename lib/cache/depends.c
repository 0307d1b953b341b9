#include "cache/depends.h"

#include "base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum kind { A_FILE, MISSING, A_FOLDER, PLACE, VARIABLE, UNSET } kind;

/* One dependency; its path (a variable's name and value) follows, NUL-terminated and filled up to a multiple of 8. */
typedef struct item {
    uint32_t kind, length;
    int64_t size, changed[2], inode; /* changed: mtime and ctime */
    tr__hash hash;                   /* a file's content */
} item;

enum { FILE_MOST = 1 << 30, TICK_NS = 20000000, COARSE_TICK_NS = 2100000000 };

static size_t padded(size_t length) {
    return (length + 8) & ~(size_t)7; /* with a NUL at least */
}

static int64_t nanoseconds(struct timespec time) {
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static bool is_untouched(const item *item, const struct stat *info) {
    return item->size == info->st_size && item->changed[0] == nanoseconds(info->st_mtim) &&
           item->changed[1] == nanoseconds(info->st_ctim) && item->inode == (int64_t)info->st_ino;
}

static bool read_hash(int fd, size_t size, tr__hash *hash) {
    char *data = malloc(size + 1);
    size_t done = 0;
    while (data && done < size) {
        ssize_t got = read(fd, data + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done += (size_t)got;
    }
    bool whole = data && done == size;
    if (whole) *hash = tr__hash_bytes(data, size);
    free(data);
    return whole;
}

/* The content's hash, and what the file looked like before and after it was read. */
static bool hash_file(const char *path, tr__hash *hash, struct stat *before, struct stat *after) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    bool done = !fstat(fd, before) && S_ISREG(before->st_mode) && before->st_size <= FILE_MOST &&
                read_hash(fd, (size_t)before->st_size, hash) && !fstat(fd, after);
    close(fd);
    return done;
}

/* ---- what was told ---- */

static void append(tr__buffer *out, const item *item, const char *text) {
    static const char zeros[8];
    tr__buffer_append(out, item, sizeof *item);
    tr__buffer_append(out, text, item->length);
    tr__buffer_append(out, zeros, padded(item->length) - item->length);
}

static int64_t number_at(const json_t *list, size_t index) {
    return (int64_t)json_integer_value(json_array_get(list, index));
}

/* Two writes within one tick of the file system's clock can't be told apart. */
static bool was_just_written(const item *item, int64_t when) {
    int64_t last = item->changed[0] > item->changed[1] ? item->changed[0] : item->changed[1];
    return when - last < (item->changed[1] % 1000000000 ? TICK_NS : COARSE_TICK_NS);
}

static tr_status add_file(tr__buffer *out, const json_t *told, tr_error **error) {
    const char *path = json_string_value(json_array_get(told, 0));
    struct stat before, after;
    if (!path) return tr__fail(error, TR_E_UNSUPPORTED, "a file without a path was told");
    item item = {.kind = A_FILE,
                 .length = (uint32_t)strlen(path),
                 .size = number_at(told, 1),
                 .changed = {number_at(told, 2), number_at(told, 3)},
                 .inode = number_at(told, 4)};
    if (was_just_written(&item, number_at(told, 5)))
        return tr__fail(error, TR_E_UNSUPPORTED, "'%s' was written at the moment when it was read", path);
    if (!hash_file(path, &item.hash, &before, &after) || !is_untouched(&item, &before) ||
        !is_untouched(&item, &after))
        return tr__fail(error, TR_E_UNSUPPORTED, "'%s' has changed since it was read", path);
    append(out, &item, path);
    return TR_OK;
}

static void add_place(tr__buffer *out, const json_t *told) {
    const char *path = json_string_value(json_array_get(told, 0));
    item item = {.kind = PLACE,
                 .length = path ? (uint32_t)strlen(path) : 0,
                 .changed = {number_at(told, 1), number_at(told, 2)},
                 .inode = number_at(told, 3)};
    if (path) append(out, &item, path);
}

static void add_paths(tr__buffer *out, kind kind, const json_t *told) {
    for (size_t i = 0; i < json_array_size(told); i++) {
        const char *path = json_string_value(json_array_get(told, i));
        item item = {.kind = kind, .length = path ? (uint32_t)strlen(path) : 0};
        if (path) append(out, &item, path);
    }
}

/* "NAME=value" */
static void add_variables(tr__buffer *out, json_t *told) {
    const char *name;
    json_t *value;
    json_object_foreach(told, name, value) {
        tr__buffer text = {0};
        const char *set = json_string_value(value);
        tr__buffer_printf(&text, "%s=%s", name, set ? set : "");
        item item = {.kind = set ? VARIABLE : UNSET, .length = (uint32_t)text.size};
        if (text.failed)
            out->failed = true;
        else
            append(out, &item, text.data);
        tr__buffer_release(&text);
    }
}

static tr_status add_all(tr__buffer *out, const json_t *told, tr_error **error) {
    const char *unsafe = json_string_value(json_object_get(told, "unsafe"));
    if (!json_is_object(told)) return tr__fail(error, TR_E_UNSUPPORTED, "nothing was told of it");
    if (unsafe) return tr__fail(error, TR_E_UNSUPPORTED, "its file %s", unsafe);
    const json_t *files = json_object_get(told, "files"), *places = json_object_get(told, "places");
    tr_status status = TR_OK;
    for (size_t i = 0; i < json_array_size(files) && !status; i++)
        status = add_file(out, json_array_get(files, i), error);
    for (size_t i = 0; i < json_array_size(places); i++) add_place(out, json_array_get(places, i));
    add_paths(out, MISSING, json_object_get(told, "missing"));
    add_paths(out, A_FOLDER, json_object_get(told, "folders"));
    add_variables(out, json_object_get(told, "variables"));
    return status;
}

tr_status tr__depends_create(const json_t *told, tr__blob **out, tr_error **error) {
    tr__buffer bytes = {0};
    *out = NULL;
    tr_status status = add_all(&bytes, told, error);
    if (!status && (bytes.failed || !(*out = tr__blob_create(bytes.data ? bytes.data : "", bytes.size))))
        status = tr__fail_out_of_memory(error);
    tr__buffer_release(&bytes);
    return status;
}

/* ---- whether it still is so ---- */

static bool variable_holds(const item *item, const char *text) {
    const char *equals = strchr(text, '=');
    char name[32];
    if (!equals || (size_t)(equals - text) >= sizeof name) return false;
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    const char *value = getenv(name);
    return item->kind == UNSET ? !value : value && !strcmp(value, equals + 1);
}

static bool file_holds(const item *item, const char *path, const struct stat *info) {
    struct stat before, after;
    tr__hash hash;
    if (!S_ISREG(info->st_mode) || item->size != info->st_size) return false;
    return is_untouched(item, info) ||
           (hash_file(path, &hash, &before, &after) && tr__hash_equal(hash, item->hash));
}

static bool holds(const item *item, const char *text) {
    struct stat info;
    if (item->kind >= VARIABLE) return variable_holds(item, text);
    bool there = !stat(text, &info);
    switch (item->kind) {
    case A_FILE: return there && file_holds(item, text, &info);
    case MISSING: return !there && (errno == ENOENT || errno == ENOTDIR);
    case A_FOLDER: return there && S_ISDIR(info.st_mode);
    case PLACE:
        return there && item->changed[0] == nanoseconds(info.st_mtim) && item->inode == (int64_t)info.st_ino;
    default: return false;
    }
}

bool tr__depends_hold(const tr__blob *depends) {
    const char *at = depends->data, *end = at + depends->size;
    while (at < end) {
        item item;
        if ((size_t)(end - at) < sizeof item) return false;
        memcpy(&item, at, sizeof item);
        at += sizeof item;
        size_t size = padded(item.length);
        if ((size_t)(end - at) < size || strnlen(at, size) != item.length || !holds(&item, at)) return false;
        at += size;
    }
    return true;
}
